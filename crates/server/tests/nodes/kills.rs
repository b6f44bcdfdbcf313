//! Nodes that are killed in the middle of what they do, while the others go on.

use crate::letters::Office;
use crate::nodes::{Nodes, cluster, url};

#[test]
fn what_a_killed_node_had_begun_is_done_once_by_the_others() {
    let Some(cluster) = cluster() else { return };
    let nodes = Nodes::start(3, &url(&[cluster.port()]));
    let mut office = Office::open(&nodes, 9, 3);
    office.works(|progress| {
        for round in 0..6 {
            let node = round % nodes.number();
            progress.more(60);
            nodes.kill(node);
            progress.more(30);
            nodes.start_again(node);
        }
        progress.more(60);
    });
    let found = office.is_in_order();
    assert!(office.senders.iter().any(|sender| sender.moved > 0), "{found}");
    office.has_all_connections(&cluster);
    nodes.are_well();
}
