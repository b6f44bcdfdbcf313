//! Texts come back to the letter.

use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn a_text_comes_back_to_the_letter() {
    let app = TestApp::start().await;
    let (ann, bob) = app.pair("ann", "bob").await;

    for text in [
        "",
        " ",
        "  kept  spaces \t and tabs\t",
        "two\r\nlines\rand\nthree",
        "\n\n\n",
        "Zoë is not Zoe\u{308}",
        "e\u{301}\u{323}\u{302} combined",
        "ﬁ ﬃ Ⅷ ① ｗｉｄｅ",
        "👩🏽‍🚀 👨‍👩‍👧‍👦 🇩🇪 ❤️ 💌",
        "שלום עולם, مرحبا \u{202e}backwards\u{202c} \u{2066}isolated\u{2069}",
        "日本語 한국어 ไทย हिन्दी",
        "\u{feff}a mark at the start, \u{200b}no width\u{200d}, \u{ad}soft",
        "line\u{2028}separator\u{2029}",
        "\u{1}\u{7}\u{8}\u{1b}[31m\u{7f}\u{80}\u{85}",
        "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}\u{e000}",
        r#"quotes " ' ` and \ \n \u0041 {} [] :,"#,
        "'; DROP TABLE messages; -- %s %d ?1 $1 ${x} {{x}}",
        "<script>alert(1)</script> &amp; <!-- -->",
        "null",
        "0012",
    ] {
        let id = ann.send(&bob, text, text).await;
        for message in [bob.read(id).await, ann.read(id).await] {
            assert_eq!(message["subject"], text);
            assert_eq!(message["body"], text);
        }
    }
}

#[tokio::test]
async fn escapes_in_json_mean_the_characters_that_they_stand_for() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    let json = format!(
        r#"{{"\u0072eceiver_id": {},
            "subject": "\u00fc\/\b\f\t\"\\",
            "body": "\uD83D\uDC8C\r\n"}}"#,
        ann.id.get()
    );

    let written = super::WRITE.with(&ann.client, json).await.ok();

    let message = ann.read(crate::user::number(&written["message_id"])).await;
    assert_eq!(message["subject"], "ü/\u{8}\u{c}\t\"\\");
    assert_eq!(message["body"], "💌\r\n");
}

#[tokio::test]
async fn a_password_is_taken_to_the_letter() {
    let app = TestApp::start().await;
    let client = app.visitor().await;
    let password = " Pâss\tẘord 💌 ";
    client.try_register("ann", "ann@example.org", password).await.ok();

    client.try_login("ann", password).await.ok();

    for near in ["Pâss\tẘord 💌", " pâss\tẘord 💌 ", " Pa\u{302}ss\tẘord 💌 ", PASSWORD]
    {
        client.try_login("ann", near).await.error(401);
    }
}
