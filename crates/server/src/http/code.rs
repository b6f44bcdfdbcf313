//! Error codes. `docs/errors.md` explains them; a test compares it with this table.

use axum::http::StatusCode;
use domain::sending::Refusal;

/// The texts and statuses of a code.
pub(super) struct Facts {
    /// The code on the wire; it never changes.
    pub(super) slug: &'static str,
    pub(super) status: StatusCode,
    /// The status in the classic API, which has fewer.
    pub(super) classic: StatusCode,
    pub(super) title: &'static str,
    /// One sentence.
    pub(super) meaning: &'static str,
}

macro_rules! codes {
    ($($name:ident, $slug:literal, $status:ident / $classic:ident, $title:literal,
       $meaning:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// All codes, by status.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(super) fn facts(self) -> &'static Facts {
                match self {
                    $(Self::$name => &Facts {
                        slug: $slug,
                        status: StatusCode::$status,
                        classic: StatusCode::$classic,
                        title: $title,
                        meaning: $meaning,
                    },)*
                }
            }
        }
    };
}

codes! {
    MalformedJson, "malformed_json", BAD_REQUEST / BAD_REQUEST, "Malformed JSON",
        "The body is not valid JSON, has too many members, or one twice, or could not be read.";
    BadRequest, "bad_request", BAD_REQUEST / BAD_REQUEST, "Bad request",
        "A header or the query string is malformed, or is a condition that the call does not take.";
    UserRequired, "user_required", BAD_REQUEST / BAD_REQUEST, "User required",
        "A server key made the call of a user, and does not say for whom.";
    Unauthenticated, "unauthenticated", UNAUTHORIZED / UNAUTHORIZED, "Login needed",
        "There is no token and no session, or the one that was sent is not valid.";
    AuthenticationFailed, "authentication_failed", UNAUTHORIZED / UNAUTHORIZED,
        "Authentication failed",
        "The username or the password is wrong.";
    TokenExpired, "token_expired", UNAUTHORIZED / UNAUTHORIZED, "Token expired",
        "The time of the browser token or JWT is over.";
    TokenRevoked, "token_revoked", UNAUTHORIZED / UNAUTHORIZED, "Token revoked",
        "The browser token or JWT was ended before its time.";
    TokenInvalid, "token_invalid", UNAUTHORIZED / UNAUTHORIZED, "Invalid token",
        "The browser token was not issued by this server, or the JWT is not one that it accepts.";
    TokenNotYetValid, "token_not_yet_valid", UNAUTHORIZED / UNAUTHORIZED, "Token not yet valid",
        "The JWT says that it is issued, or valid from, later than now.";
    HolderDeactivated, "user_deactivated", UNAUTHORIZED / UNAUTHORIZED, "User deactivated",
        "The user of the browser token or JWT is deactivated.";
    HolderErased, "user_erased", UNAUTHORIZED / UNAUTHORIZED, "User erased",
        "The user of the browser token was erased.";
    ForeignOrigin, "forbidden_origin", FORBIDDEN / FORBIDDEN, "Forbidden origin",
        "The request was made by a page of another site.";
    Csrf, "csrf", FORBIDDEN / FORBIDDEN, "CSRF token needed",
        "A request with the session cookie needs the CSRF token in a header as well.";
    InsufficientScope, "insufficient_scope", FORBIDDEN / FORBIDDEN, "Insufficient scope",
        "The token is valid, but lacks the scope that this call needs.";
    MissingScope, "missing_scope", FORBIDDEN / FORBIDDEN, "Missing scope",
        "The server key lacks the scope of this call, or the token that of reading by a filter.";
    ServerKeyInBrowser, "server_key_in_browser", FORBIDDEN / FORBIDDEN, "Server key in a browser",
        "A page of a browser sent a server key, which everybody who opens the page can see.";
    SubjectUnknown, "user_unknown", FORBIDDEN / FORBIDDEN, "User unknown",
        "The user of the JWT has no account here, and gets none by it.";
    NotByKey, "not_by_key", FORBIDDEN / FORBIDDEN, "Not by key",
        "The call is the user's own, and no server key can make it for them.";
    ActNotAllowed, "act_not_allowed", FORBIDDEN / FORBIDDEN, "Acting not allowed",
        "A user cannot act for another: only a server key may send Postroom-User.";
    UserDeactivated, "user_deactivated", FORBIDDEN / FORBIDDEN, "User deactivated",
        "The user whom the request names is deactivated.";
    FreshLoginRequired, "fresh_login_required", FORBIDDEN / FORBIDDEN, "Fresh login required",
        "The login is older than 10 minutes, or was not made with a password.";
    RegistrationClosed, "registration_closed", FORBIDDEN / FORBIDDEN, "Registration is closed",
        "On this server, only the operator creates accounts.";
    RecipientUnavailable, "recipient_unavailable", FORBIDDEN / FORBIDDEN, "Recipient unavailable",
        "No recipient accepts messages from the caller.";
    BlockedByYou, "blocked_by_you", FORBIDDEN / FORBIDDEN, "Blocked by you",
        "The caller blocks the recipient.";
    NoReplies, "no_replies", FORBIDDEN / FORBIDDEN, "No replies",
        "The recipient is a sender that belongs to the app and takes no replies.";
    SystemUser, "system_user", FORBIDDEN / FORBIDDEN, "System user",
        "The user belongs to the app: nobody can block, sign in or act as such a user.";
    NotTheSender, "not_the_sender", FORBIDDEN / FORBIDDEN, "Not the sender",
        "Only the sender of a message can do this.";
    NotFound, "not_found", NOT_FOUND / NOT_FOUND, "Not found",
        "There is no such object, or it is not the caller's.";
    UserUnknown, "user_unknown", NOT_FOUND / NOT_FOUND, "User unknown",
        "There is no such user as the header Postroom-User names.";
    MethodNotAllowed, "method_not_allowed", METHOD_NOT_ALLOWED / METHOD_NOT_ALLOWED,
        "Method not allowed",
        "The path does not support this method; Allow lists the methods that it does.";
    RequestTimeout, "request_timeout", REQUEST_TIMEOUT / REQUEST_TIMEOUT, "Request timeout",
        "The body did not arrive in time.";
    UsernameTaken, "username_taken", CONFLICT / BAD_REQUEST, "Username taken",
        "Another user has that name; upper and lower case are the same.";
    ExternalIdTaken, "external_id_taken", CONFLICT / CONFLICT, "External id taken",
        "Another user has that external id.";
    AlreadyLinked, "already_linked", CONFLICT / CONFLICT, "Already linked",
        "The user has another external id.";
    RequestInProgress, "request_in_progress", CONFLICT / CONFLICT, "Request in progress",
        "The first request with this Idempotency-Key is still being processed.";
    CannotCalculateChanges, "cannot_calculate_changes", GONE / GONE, "Cannot calculate changes",
        "The server no longer knows what has changed since that state.";
    UserErased, "user_erased", GONE / GONE, "User erased",
        "The user of that external id was erased.";
    PreconditionFailed, "precondition_failed", PRECONDITION_FAILED / PRECONDITION_FAILED,
        "Precondition failed",
        "The object has changed since the ETag in If-Match.";
    AnotherUser, "another_user", PRECONDITION_FAILED / PRECONDITION_FAILED, "Another user",
        "The session, token or key is that of another user than the header Postroom-If-User names.";
    BodyTooLarge, "body_too_large", PAYLOAD_TOO_LARGE / PAYLOAD_TOO_LARGE, "Body too large",
        "The body is larger than the server accepts.";
    UnsupportedMediaType, "unsupported_media_type",
        UNSUPPORTED_MEDIA_TYPE / UNSUPPORTED_MEDIA_TYPE, "Unsupported media type",
        "The Content-Type is not JSON, or the body is compressed.";
    WrongHost, "wrong_host", MISDIRECTED_REQUEST / BAD_REQUEST, "Wrong host",
        "The server does not answer to the name in the header Host.";
    Invalid, "invalid", UNPROCESSABLE_ENTITY / BAD_REQUEST, "Invalid input",
        "Fields or parameters cannot be used; each is listed with the reason.";
    UnknownRecipient, "unknown_recipient", UNPROCESSABLE_ENTITY / NOT_FOUND, "Unknown recipient",
        "There is no such recipient.";
    NameReserved, "name_reserved", UNPROCESSABLE_ENTITY / BAD_REQUEST, "Name reserved",
        "A system user is called that, but for case and spaces, or erased users are.";
    KeyReused, "idempotency_key_reused", UNPROCESSABLE_ENTITY / UNPROCESSABLE_ENTITY,
        "Idempotency-Key reused",
        "The Idempotency-Key was already used with a different body.";
    TooManyTokens, "too_many_tokens", UNPROCESSABLE_ENTITY / UNPROCESSABLE_ENTITY,
        "Too many tokens",
        "The account has the maximum number of tokens.";
    RateLimited, "rate_limited", TOO_MANY_REQUESTS / TOO_MANY_REQUESTS, "Rate limited",
        "There were too many attempts for this account or from this address.";
    QuotaExceeded, "quota_exceeded", TOO_MANY_REQUESTS / TOO_MANY_REQUESTS, "Quota exceeded",
        "The caller has sent or looked up as much as is allowed for now.";
    TooManyKeys, "too_many_keys", TOO_MANY_REQUESTS / TOO_MANY_REQUESTS, "Too many keys",
        "As many responses are kept for the caller's Idempotency-Keys as can be.";
    Internal, "internal", INTERNAL_SERVER_ERROR / INTERNAL_SERVER_ERROR, "Internal error",
        "The server failed; its log has the cause under the request id.";
    Unavailable, "unavailable", SERVICE_UNAVAILABLE / SERVICE_UNAVAILABLE, "Unavailable",
        "The server is busy or stopping, or its database cannot be reached.";
    StorageFull, "storage_full", INSUFFICIENT_STORAGE / INSUFFICIENT_STORAGE, "Storage full",
        "The server has no space left; reading still works.";
}

impl From<Refusal> for Code {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::UnknownRecipient,
            Refusal::Unavailable => Self::RecipientUnavailable,
            Refusal::BlockedByYou => Self::BlockedByYou,
            Refusal::NoReplies => Self::NoReplies,
        }
    }
}

impl Code {
    /// The `type` of the problem: a URI that leads to an explanation.
    pub(super) fn uri(self) -> String {
        match self {
            Self::QuotaExceeded => {
                "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned()
            }
            _ => format!("/docs/errors#{}", self.anchor()),
        }
    }

    /// Where it is explained: the code, with the status where another status has it as well.
    pub(super) fn anchor(self) -> String {
        let facts = self.facts();
        let last = Self::ALL.iter().rfind(|other| other.facts().slug == facts.slug);
        if last == Some(&self) {
            return facts.slug.to_owned();
        }
        format!("{}-{}", facts.slug, facts.status.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_matches_the_table() {
        let document = include_str!("../../../../docs/errors.md");
        let rows = document.lines().filter(|line| line.starts_with("| `"));
        let documented: Vec<Vec<_>> = rows
            .map(|row| row.trim_matches('|').split('|').take(4).map(str::trim).collect())
            .collect();
        let known = Code::ALL.iter().map(|code| {
            let facts = code.facts();
            let slug = format!("`{}`", facts.slug);
            vec![slug, facts.status.as_str().to_owned(), facts.title.into(), facts.meaning.into()]
        });
        assert_eq!(documented, known.collect::<Vec<_>>());
    }

    #[test]
    fn every_row_says_what_to_do() {
        let document = include_str!("../../../../docs/errors.md");
        for row in document.lines().filter(|line| line.starts_with("| `")) {
            let advice = row.trim_matches('|').rsplit('|').next().unwrap_or_default();
            assert!(row.matches('|').count() == 6 && advice.trim().len() > 10, "{row}");
        }
    }

    #[test]
    fn codes_are_unique_for_each_status() {
        let facts = Code::ALL.iter().map(|code| code.facts());
        let mut slugs: Vec<_> = facts.map(|facts| (facts.slug, facts.status)).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Code::ALL.len());
    }
}
