//! Blocks: who is on the list, and that its number is kept with it.

use domain::blocks::{self, Block};
use domain::{Error, Result, Time, UserId, users};

use crate::support::{EVERYTHING, World, nobody, refused};

impl World {
    pub(crate) fn block(&self, owner: UserId, user: UserId) {
        self.try_block(owner, user).expect("both are there");
    }

    fn try_block(&self, owner: UserId, user: UserId) -> Result<()> {
        self.write(move |tx, cx| blocks::put(tx, cx, owner, user))
    }

    pub(crate) fn unblock(&self, owner: UserId, user: UserId) {
        let removed = self.write(move |tx, _cx| blocks::remove(tx, owner, user));
        // Who is not there, or not any more, and was not blocked.
        assert!(matches!(removed, Ok(()) | Err(Error::UnknownUser)), "{removed:?}");
    }

    fn blocks(&self, owner: UserId, before: Option<UserId>, limit: i64) -> Vec<Block> {
        self.read(move |tx, _cx| blocks::list(tx, owner, before, limit))
    }

    pub(crate) fn blocked(&self, owner: UserId) -> Vec<UserId> {
        self.blocks(owner, None, EVERYTHING).into_iter().map(|block| block.user).collect()
    }

    /// The numbers of blocks that the mailboxes keep, in the order of their owners.
    pub(crate) fn kept_numbers(&self) -> Vec<i64> {
        self.rows("SELECT blocks FROM mailboxes ORDER BY owner_id", |row| row.int(0))
    }
}

#[test]
fn a_block_is_the_owners_and_nobody_elses() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let since = world.now();
    world.block(ann, bob);
    assert_eq!(world.blocks(ann, None, EVERYTHING), [Block { user: bob, created_at: since }]);
    assert_eq!(world.blocked(bob), []);
    assert_eq!(world.kept_numbers(), [1, 0]);
}

#[test]
fn blocking_and_its_end_can_be_repeated_and_the_number_stays_right() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    let since = world.now();
    world.block(ann, cid);
    for _ in 0..2 {
        world.block(ann, bob);
        assert_eq!(world.kept_numbers(), [2, 0, 0]);
        world.wait(Time::DAY);
    }
    assert_eq!(world.blocks(ann, Some(cid), 1), [Block { user: bob, created_at: since }]);
    world.block(bob, ann);
    for _ in 0..2 {
        world.unblock(ann, bob);
        assert_eq!(world.blocked(ann), [cid]);
        assert_eq!(world.kept_numbers(), [1, 1, 0]);
    }
    world.unblock(ann, nobody());
    world.unblock(cid, ann);
    assert_eq!(world.kept_numbers(), [1, 1, 0]);
    world.unblock(ann, cid);
    assert_eq!((world.blocked(ann), world.kept_numbers()), (vec![], vec![0, 1, 0]));
}

#[test]
fn blocks_are_listed_page_by_page_from_the_newest_account_down() {
    let world = World::new();
    let ann = world.user("ann");
    let others = ["bob", "cid", "dot", "eve"].map(|name| world.user(name));
    for user in [others[2], others[0], others[3], others[1]] {
        world.block(ann, user);
        world.wait(1);
    }
    let [bob, cid, dot, eve] = others;
    let page = |before, limit| {
        let page = world.blocks(ann, before, limit);
        page.into_iter().map(|block| block.user).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 3), [eve, dot, cid]);
    assert_eq!(page(Some(cid), 3), [bob]);
    assert_eq!(page(Some(bob), 3), []);
    // What is gone in between moves nothing.
    world.unblock(ann, dot);
    assert_eq!(page(Some(dot), 3), [cid, bob]);
}

#[test]
fn who_is_not_there_cannot_be_blocked_and_neither_can_oneself() {
    let world = World::new();
    let (ann, bob, cid) = (world.user("ann"), world.user("bob"), world.user("cid"));
    world.write(move |tx, cx| users::erase(tx, cx, bob)).unwrap();
    assert_eq!(refused(world.try_block(ann, nobody())), Error::UnknownUser);
    assert_eq!(refused(world.try_block(ann, bob)), Error::UnknownUser);
    let error = refused(world.try_block(ann, ann));
    assert_eq!(error.to_string(), "user: you cannot block yourself");
    assert_eq!(world.kept_numbers(), [0, 0, 0]);
    world.disable(cid);
    world.block(ann, cid);
    assert_eq!(world.blocked(ann), [cid], "who is disabled is there");
}

#[test]
fn who_was_disabled_in_the_meantime_blocks_nobody() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.disable(ann);
    assert_eq!(refused(world.try_block(ann, bob)), Error::NotLoggedIn);
    assert_eq!(refused(world.try_block(nobody(), bob)), Error::NotLoggedIn);
    assert_eq!(world.number("SELECT count(*) FROM blocks"), 0);
}

#[test]
fn a_block_is_nothing_that_happens_in_the_mailbox() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.block(ann, bob);
    world.unblock(ann, bob);
    assert_eq!(world.number("SELECT CAST(sum(modseq) AS BIGINT) FROM mailboxes"), 0);
}
