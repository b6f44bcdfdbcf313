//! Reminders by e-mail of several nodes: each is sent by one of them.

use testing::smtp::{Smtp, Turn};

use crate::nodes::{DATABASE, Nodes, cluster, place, poll, url};
use crate::support::TWO_HOURS_GO_BY;

/// How many are away.
const AWAY: usize = 12;

#[test]
fn a_reminder_is_sent_by_one_node_and_another_goes_on_when_that_is_killed() {
    let Some(cluster) = cluster() else { return };
    let smtp = Smtp::start();
    let address = url(&[cluster.port()]);
    let place = || {
        place(&address)
            .with("POSTROOM_SMTP_URL", &format!("smtp://{}", smtp.address()))
            .with("POSTROOM_MAIL_FROM", "noreply@example.org")
            .with("POSTROOM_PUBLIC_URL", "https://post.example.org")
    };
    let nodes = Nodes::in_places((0..3).map(|_| place()).collect());
    let mut ann = nodes.user(0, "ann");
    let away: Vec<_> = (0..AWAY).map(|n| nodes.user(n % 3, &format!("away{n}"))).collect();
    let two_hours_go_by = || {
        for statement in TWO_HOURS_GO_BY {
            cluster.sql(DATABASE, statement);
        }
    };
    for user in &away {
        ann.send_message(user.id, "hello", "");
    }
    two_hours_go_by();
    let recipients = |number: usize| {
        let mut recipients: Vec<_> = (0..number)
            .map(|_| {
                let session = smtp.next();
                assert!(session.accepted, "{session:?}");
                session.commands.into_iter().find(|command| command.starts_with("RCPT "))
            })
            .collect();
        recipients.sort();
        recipients
    };
    let mut all = recipients(AWAY);
    all.dedup();
    assert_eq!(all.len(), AWAY, "each once");

    // The node that has begun ends in the middle of a mail.
    let late = nodes.user(1, "late");
    let other = nodes.user(2, "other");
    smtp.plan(&[Turn::HangAfterText]);
    ann.send_message(late.id, "hello", "");
    two_hours_go_by();
    poll("a mail is on its way", || smtp.texts() == AWAY + 1);
    let holder = cluster.sql(DATABASE, "SELECT count(*) FROM leases WHERE name = 'reminders'");
    assert_eq!(holder, [["1"]]);
    for node in 0..3 {
        nodes.kill(node);
    }
    nodes.start_again(1);
    cluster.sql(DATABASE, "DELETE FROM leases");
    ann.connect_to(nodes.address(1));
    ann.send_message(other.id, "hello", "");
    two_hours_go_by();
    assert!(!smtp.next().accepted, "what was on its way is lost: better none than two");
    assert_eq!(recipients(1), [Some("RCPT TO:<other@example.org>".to_owned())]);
    nodes.are_well();
    assert_eq!(smtp.rest().len(), 0);
}
