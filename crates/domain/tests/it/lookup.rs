//! Who is found by a look-up: those who want to be, and where the operator says so, contacts alone.

use domain::UserId;
use domain::users::{self, UserChange};

use crate::app_users::external;
use crate::support::World;

impl World {
    /// The usernames of the contacts of a user that a look-up finds.
    fn look_up_contacts(&self, of: UserId, prefix: &'static str) -> Vec<String> {
        let found = self.read(move |tx, _cx| users::lookup(tx, prefix, 20, Some(of)));
        found.into_iter().map(|person| person.username).collect()
    }
}

#[test]
fn who_is_not_findable_or_no_person_is_not_found() {
    let world = World::new();
    world.user("anna");
    world.user("anton");
    world.user("anapp");
    assert_eq!(world.look_up("an", 9), ["anapp", "anna", "anton"]);
    world.sql("UPDATE users SET kind = 1 WHERE name = 'anapp'");
    let hidden = UserChange { findable: Some(Some(false)), ..UserChange::default() };
    world.put(&domain::UserRef::Name("anton".to_owned()), hidden).unwrap();
    assert_eq!(world.look_up("an", 9), ["anna"]);
    assert_eq!(world.look_up("anton", 9), [""; 0], "not by the whole name either");
}

#[test]
fn among_contacts_are_those_one_wrote_to_and_those_who_wrote() {
    let world = World::new();
    let ann = world.user("ann");
    let [bea, bob, bill, ben] = ["bea", "bob", "bill", "ben"].map(|name| world.user(name));
    assert_eq!(world.look_up_contacts(ann, "b"), [""; 0]);
    world.send(ann, bob, "hello");
    world.send(bea, ann, "hello");
    world.send(bea, ben, "to somebody else");
    assert_eq!(world.look_up_contacts(ann, "b"), ["bea", "bob"]);
    assert_eq!(world.look_up_contacts(ann, "bob"), ["bob"]);
    assert_eq!(world.look_up_contacts(ann, "bill"), [""; 0], "{bill:?}");
    assert_eq!(world.look_up_contacts(bea, "a"), ["ann"]);
    world.send(bob, ann, "hello");
    assert_eq!(world.look_up_contacts(ann, "b"), ["bea", "bob"], "each once");
    world.disable(bob);
    assert_eq!(world.look_up_contacts(ann, "b"), ["bea"]);
    let shown = UserChange {
        display_name: Some(domain::text::DisplayName::parse("Zoë Bloom").ok()),
        ..UserChange::default()
    };
    let cat = world.put(&external("9"), shown).unwrap().0.person.id;
    world.send(cat, ann, "hello");
    let name = format!("user-{}", cat.get());
    assert_eq!(world.look_up_contacts(ann, "bloo"), [&*name]);
    assert_eq!(world.look_up_contacts(ann, "zoe"), [&*name]);
    assert_eq!(world.look_up_contacts(ann, ""), [""; 0]);
}
