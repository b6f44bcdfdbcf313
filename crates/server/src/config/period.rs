//! Periods of time, as people write them.

/// Parses `24h` as microseconds: a number up to 100000, at most some hundred years.
pub(crate) fn microseconds(text: &str) -> Result<i64, &'static str> {
    const SECOND: i64 = 1_000_000;
    let units = [('s', SECOND), ('m', 60 * SECOND), ('h', 3600 * SECOND), ('d', 86_400 * SECOND)];
    let parsed = units.into_iter().find_map(|(unit, length)| {
        let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
        (number <= 100_000).then_some(i64::from(number) * length)
    });
    parsed.ok_or("it must look like 24h: a number up to 100000, and s, m, h or d")
}
