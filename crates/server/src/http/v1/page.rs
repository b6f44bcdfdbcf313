//! Lists, a page at a time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

/// Items of a page where nothing else is asked for, and at most.
pub(super) const USUAL: i64 = 50;
pub(super) const MOST: i64 = 100;

/// A page of a list.
#[derive(Serialize)]
pub(super) struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page of a list that was asked for `limit + 1` items: the one too many says that there
    /// is a next page. `position` is the place of an item in the list.
    pub(super) fn of<I, const N: usize>(
        mut items: Vec<I>,
        limit: i64,
        position: impl Fn(&I) -> [i64; N],
        show: impl FnMut(I) -> T,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| cursor(position(last)));
        Self { data: items.into_iter().map(show).collect(), next_cursor }
    }

    /// A list that has only one page.
    pub(super) fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}

/// A place in a list, as clients hand it back without looking into it.
pub(super) fn cursor<const N: usize>(position: [i64; N]) -> String {
    URL_SAFE_NO_PAD.encode(position.map(i64::to_be_bytes).concat())
}
