//! Old messages are removed by one node, and by another when that is gone.

use crate::nodes::{DATABASE, Nodes, cluster, place, poll, url};

const OLD: usize = 500;

#[test]
fn one_node_removes_what_is_old_and_another_goes_on_when_that_is_killed() {
    let Some(cluster) = cluster() else { return };
    let address = url(&[cluster.port()]);
    let nodes = Nodes::start(3, &address);
    let (mut ann, mut bob) = (nodes.user(0, "ann"), nodes.user(1, "bob"));
    for number in 0..OLD {
        ann.send_message(bob.id, "old", &format!("{number}"));
    }
    for statement in [
        "UPDATE messages SET sent_at = sent_at - 10 * 86400000000",
        "UPDATE mailboxes SET oldest_unread_at = NULL",
    ] {
        cluster.sql(DATABASE, statement);
    }
    let new = ann.send_message(bob.id, "new", "");
    nodes.are_well();

    let place = || place(&address).with("POSTROOM_RETENTION_DAYS", "9");
    let nodes = Nodes::in_places((0..3).map(|_| place()).collect());
    let left = || -> usize {
        let count = cluster.sql(DATABASE, "SELECT count(*) FROM messages");
        count[0][0].parse().expect("it is a number")
    };
    let leases = "this node has the lease task=\"retention\"";
    let leads = |node| nodes.try_address(node).is_some() && nodes.log(node).contains(leases);
    poll("it has begun", || left() < OLD);
    let first = (0..3).find(|node| leads(*node)).expect("a node removes them");
    nodes.kill(first);
    assert!(left() > 1, "it was killed too late");
    // As if its three minutes were over.
    cluster.sql(DATABASE, "UPDATE leases SET until = 0 WHERE name = 'retention'");
    poll("another one goes on", || left() == 1);
    assert_eq!((0..3).filter(|node| leads(*node)).count(), 1);
    let at = (0..3).find(|node| nodes.try_address(*node).is_some()).expect("two of them run");
    bob.connect_to(nodes.address(at));
    assert_eq!(bob.inbox(), [new]);
    assert_eq!(bob.unread(), [new]);
    nodes.are_well();
}
