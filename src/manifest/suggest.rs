//! "Did you mean": the known word that a wrong one was probably meant to be.
//!
//! Knows no words itself.

/// The advice to write the known word that `written` resembles most, if any does.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    closest(written, known).map(|word| format!("did you mean `{word}`?"))
}

/// The known word that `written` resembles most. Another spelling of the same words (snake_case,
/// capitals) resembles most of all; else one edit in three characters is close enough.
pub(crate) fn closest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = fold(written);
    known
        .into_iter()
        .map(|word| (edits(&folded, &fold(word)), word))
        .filter(|(edits, word)| *edits <= word.chars().count().min(15) / 3)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// Without case, `_` and `-`. Bounded, as the comparison takes time with the square of the length.
fn fold(word: &str) -> Vec<char> {
    word.chars().take(80).filter(|c| !"_-".contains(*c)).flat_map(char::to_lowercase).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        let mut previous = None;
        for (j, y) in b.iter().enumerate() {
            let cost = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (cost(&row, j) + usize::from(x != y))
                .min(cost(&row, j + 1) + 1)
                .min(cost(&next, j) + 1);
            if last == Some(y) && previous == Some(x) {
                best = best.min(cost(&before, j.saturating_sub(1)) + 1);
            }
            next.push(best);
            previous = Some(y);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(x);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::snake_case("ip_blocks", Some("ipBlocks"))]
    #[case::capitals("IPBLOCKS", Some("ipBlocks"))]
    #[case::missing_letter("ipBlock", Some("ipBlocks"))]
    #[case::swapped("princpials", Some("principals"))]
    #[case::nearest("notIpBlock", Some("notIpBlocks"))]
    #[case::too_short_to_tell("ot", None)]
    #[case::far("hosts", None)]
    #[case::empty("", None)]
    fn closest_word(#[case] written: &str, #[case] expected: Option<&str>) {
        let known = ["ipBlocks", "notIpBlocks", "principals", "to"];
        assert_eq!(closest(written, known), expected);
    }
}
