//! `postroom openapi`

pub(super) fn run() {
    print!("{}", crate::http::v1::document());
}
