//! System users: senders that belong to the app. Nobody writes to, blocks, finds or is one.

use domain::messages::Marks;
use domain::sending::RefusedRecipient::{FromParent, Named};
use domain::sending::{Draft, Refusal};
use domain::text::{DisplayName, Email, TokenName, Username};
use domain::tokens::{self, NewToken, Scopes};
use domain::users::{self, AcceptFrom, Kind, ProfileChange, PutStatus, UserChange};
use domain::{Error, Result, UserId, UserRef, blocks, conversations};

use crate::app_users::external;
use crate::support::{World, answer, draft, nobody, refusal, refused};

impl World {
    /// Makes a system user.
    pub(crate) fn system(&self, name: &str, display_name: &str, replies: bool) -> UserId {
        let name = Username::parse(name).expect("it is a name");
        let shown = DisplayName::parse(display_name).expect("it is a name");
        let made = self.write(move |tx, cx| {
            let email = Email::parse("app@example.org")?;
            let id = users::create(tx, cx, &name, Some(&shown), &email, "")?;
            users::make_system(tx, id, replies)?;
            Ok(id)
        });
        made.expect("the names are free")
    }

    fn rename(&self, user: UserId, name: &str) -> Result<()> {
        let name = Some(DisplayName::parse(name).expect("it is a name"));
        let change = ProfileChange { display_name: Some(name), ..ProfileChange::default() };
        self.write(move |tx, cx| users::update(tx, cx, user, &change))
    }

    fn found(&self, prefix: &str) -> Vec<UserId> {
        let prefix = prefix.to_owned();
        let found = self.read(move |tx, _cx| users::lookup(tx, &prefix, 20, None));
        found.into_iter().map(|person| person.id).collect()
    }
}

fn to(draft: Draft, recipients: &[UserId]) -> Draft {
    Draft { to: recipients.iter().map(|user| UserRef::Id(*user)).collect(), ..draft }
}

#[test]
fn nobody_writes_to_a_system_user_that_takes_no_replies() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    let shop = world.system("shop", "Our Shop", false);
    let letter = world.tells(shop, &[ann])[0];

    assert_eq!(refusal(world.try_send(ann, answer(letter, "thanks"))), Refusal::NoReplies);
    let refused_all = refused(world.try_send(ann, answer(letter, "thanks")));
    assert_eq!(refused_all, Error::ReachesNobody(vec![(FromParent(shop), Refusal::NoReplies)]));
    assert_eq!(refusal(world.try_send(ann, draft(shop, "new", ""))), Refusal::NoReplies);
    let both = to(draft(shop, "to both", ""), &[nobody(), shop]);
    assert_eq!(refusal(world.try_send(ann, both)), Refusal::NoReplies);
    let several = world.try_deliver(ann, to(draft(shop, "", ""), &[shop, bob])).unwrap();
    assert_eq!(several.refused, [(Named(0), Refusal::NoReplies)]);
    // What a system user wrote can be shown to somebody else, and that conversation goes on.
    let shown = world.try_deliver(ann, to(answer(letter, "look"), &[bob])).unwrap();
    assert_eq!(shown.refused, []);
    let all = world.try_deliver(bob, to(answer(shown.id, "and now?"), &[shop, ann])).unwrap();
    assert_eq!(all.refused, [(Named(0), Refusal::NoReplies)]);
    assert_eq!(world.received(shop), []);
    assert_eq!(world.problems(), []);
}

#[test]
fn one_that_takes_replies_gets_them() {
    let world = World::new();
    let (ann, shop) = (world.user("ann"), world.system("shop", "Our Shop", true));
    let letter = world.tells(shop, &[ann])[0];
    let reply = world.reply(ann, letter, "a question");
    assert_eq!(world.received(shop), [reply]);
    let takes = |user| world.read(move |tx, _cx| users::takes_replies(tx, user));
    assert!(takes(shop) && takes(ann));

    world.write(move |tx, _cx| users::set_replies(tx, shop, false)).unwrap();
    assert!(!takes(shop));
    assert_eq!(refusal(world.try_send(ann, answer(letter, "another"))), Refusal::NoReplies);
    let nobody = ProfileChange { accept_from: Some(AcceptFrom::Everyone), ..Default::default() };
    world.write(move |tx, cx| users::update(tx, cx, shop, &nobody)).unwrap();
    assert!(!takes(shop), "replies alone say what it takes");

    world.write(move |tx, _cx| users::set_replies(tx, ann, false)).unwrap();
    assert!(takes(ann), "it is not for people");
    world.send(shop_friend(&world), ann, "still");
    assert_eq!(world.problems(), []);
}

fn shop_friend(world: &World) -> UserId {
    world.user("bob")
}

#[test]
fn a_person_cannot_take_the_name_of_a_system_user() {
    let world = World::new();
    let (ann, bob) = (world.user("ann"), world.user("bob"));
    world.rename(bob, "SUPPORT").unwrap();
    let support = world.system("helpdesk", "Support", false);

    let reserved = Error::NameReserved("display_name");
    for name in ["Support", "support", "ＳＵＰＰＯＲＴ", "helpdesk", "HelpDesk"] {
        assert_eq!(refused(world.rename(ann, name)), reserved, "{name}");
    }
    let person = |name: &str, display_name: Option<&str>| {
        let name = Username::parse(name).expect("it is a name");
        let shown = display_name.map(|name| DisplayName::parse(name).expect("it is a name"));
        let email = Email::parse("a@example.org").expect("it is an address");
        world.write(move |tx, cx| users::create(tx, cx, &name, shown.as_ref(), &email, ""))
    };
    assert_eq!(refused(person("support", None)), Error::NameReserved("username"));
    assert_eq!(refused(person("cid", Some("sUpport"))), reserved);
    assert_eq!(refused(person("HELPDESK", None)), Error::NameTaken);
    person("cid", Some("Supporter")).unwrap();

    // bob had it before, keeps it, and cannot come back to it.
    world.rename(bob, "Support").unwrap();
    world.rename(bob, "Bob").unwrap();
    assert_eq!(refused(world.rename(bob, "Support")), reserved);
    // The system user itself may be called otherwise, and its name is free then.
    world.rename(support, "SUPPORT").unwrap();
    world.rename(support, "Help").unwrap();
    world.rename(ann, "Support").unwrap();
    world.write(move |tx, cx| users::erase(tx, cx, support)).unwrap();
    world.rename(ann, "Help").unwrap();
    assert_eq!(world.problems(), []);
}

#[test]
fn the_empty_name_of_an_erased_system_user_is_nobodys() {
    let world = World::new();
    let (ann, shop) = (world.user("ann"), world.system("shop", "Our Shop", false));
    world.rename(ann, "Ann").unwrap();
    world.write(move |tx, cx| users::erase(tx, cx, shop)).unwrap();
    let nameless = UserChange { display_name: Some(None), ..UserChange::default() };
    let (user, status) = world.put(&UserRef::Id(ann), nameless).unwrap();
    assert_eq!((user.person.display_name.as_str(), status), ("ann", PutStatus::Updated));
}

#[test]
fn nor_one_that_only_looks_like_it() {
    let world = World::new();
    let ann = world.user("ann");
    world.system("helpdesk", "Our Shop", false);
    world.system("news", "The\u{a0} News", false);
    let shows_nothing = "\u{200b}\u{ad}\u{2060}\u{fe0f}\u{2063}\u{34f}\u{3164}\u{115f}\u{180e}\
        \u{ffa0}\u{e0020}\u{2800}";
    let invisible: Vec<_> = shows_nothing.chars().collect();
    let looks = invisible.iter().flat_map(|c| {
        [format!("Our{c} Shop"), format!("{c} Our Shop {c}"), format!("help{c}Desk")]
    });
    let spaced =
        ["Our  Shop", "Our\u{a0}Shop", "our \u{2003} shop", "the news", "OurShop", "O u r Shop"];
    let looks = looks.chain(spaced.map(str::to_owned));
    for (number, name) in looks.enumerate() {
        let reserved = Error::NameReserved("display_name");
        // What shows nothing is refused of a user, and taken out of what an app says.
        if DisplayName::parse(&name).is_ok() {
            assert_eq!(refused(world.rename(ann, &name)), reserved, "{name:?}");
        }
        assert_eq!(DisplayName::parse(&name).is_err(), name.contains(&*invisible), "{name:?}");
        let shown = DisplayName::cut(&name).expect("it is a name");
        let email = Email::parse("a@example.org").expect("it is an address");
        let (new, theirs) = (Username::parse("cid").expect("it is a name"), shown.clone());
        let made =
            world.write(move |tx, cx| users::create(tx, cx, &new, Some(&theirs), &email, ""));
        assert_eq!(refused(made), reserved, "{name:?}");
        let change = UserChange { display_name: Some(Some(shown)), ..UserChange::default() };
        for user in [UserRef::Id(ann), external(&number.to_string())] {
            assert_eq!(refused(world.put(&user, change.clone())), reserved, "{name:?}");
        }
    }
    assert_eq!(DisplayName::cut("\u{3164}"), None, "nothing is left");
    // What is not called so keeps every character.
    let name = "Our \u{2003} Shopper";
    world.rename(ann, name).unwrap();
    assert_eq!(world.person(ann).unwrap().display_name, name);
}

#[test]
fn nobody_blocks_finds_or_signs_in_as_a_system_user() {
    let world = World::new();
    let (ann, shop) = (world.user("ann"), world.system("shop", "Our Shop", false));
    let kind = |user| world.read(move |tx, _cx| users::kind(tx, user));
    let kinds = [ann, shop, nobody()].map(kind);
    assert_eq!(kinds, [Some(Kind::Person), Some(Kind::System), None]);
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.name()), Some(kind));
    }

    let blocked = world.write(move |tx, cx| blocks::put(tx, cx, ann, shop));
    assert_eq!(refused(blocked), Error::SystemUser);
    let password = world.write(move |tx, _cx| users::set_password(tx, shop, "a hash"));
    assert_eq!(refused(password), Error::SystemUser);
    let new = NewToken {
        name: TokenName::parse("a token").unwrap(),
        scopes: Scopes::all(),
        expires_at: None,
    };
    let token = world.write(move |tx, cx| tokens::create(tx, cx, shop, &[1; 32], &new));
    assert_eq!(refused(token), Error::SystemUser);
    assert!(world.credentials("shop").is_none());

    assert_eq!([world.found("shop"), world.found("our")], [vec![], vec![]]);
    assert_eq!(world.found("ann"), [ann]);
    let shown = world.read(move |tx, _cx| users::person(tx, shop)).expect("it is shown by its id");
    assert_eq!(shown.display_name, "Our Shop");
}

#[test]
fn what_a_system_user_wrote_can_be_muted() {
    let world = World::new();
    let (ann, shop) = (world.user("ann"), world.system("shop", "Our Shop", false));
    let letter = world.tells(shop, &[ann])[0];
    let id = letter.begins();
    world.write(move |tx, cx| conversations::mute(tx, cx, ann, id, true)).unwrap();
    let (conversation, _) =
        world.read(move |tx, _cx| conversations::read(tx, ann, id)).expect("ann has it");
    assert!(conversation.muted);
    world.mark(ann, letter, Marks { read: Some(true), ..Marks::default() });
    assert_eq!(world.problems(), []);
}
