//! What is found, and that nothing is missed that random requests find.

mod api_rules;
mod dice;
mod edits;
mod probes;

use std::collections::BTreeMap;
use std::time::Instant;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use dice::Dice;
use edits::Policies;
use probes::Pool;

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    #[expect(dead_code, reason = "shown")]
    edits: usize,
    equal: usize,
    /// Changes that random requests found, and so `compare` has to.
    found_by_probes: usize,
    /// Changes that `compare` found.
    found: usize,
    /// Of those, the ones that random requests did not find.
    found_alone: usize,
    gave_up: usize,
    requests: usize,
    missed: Vec<String>,
    by_edit: BTreeMap<&'static str, [usize; 2]>,
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn run(seed: u64, edits: usize, probes: usize, most_policies: usize) -> Tally {
    let settings = RequestSettings::default();
    let mut tally = Tally { edits, ..Tally::default() };
    let pool = Pool::new(&mut runner(seed), 2_000.min(probes * 2));
    for number in 0..edits {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let (mut runner, mut dice) = (runner(seed), Dice::new(seed));
        let before = Policies::random(&mut runner, &mut dice, most_policies);
        let (after, name) = before.edited(&mut runner, &mut dice);
        let (old_plan, new_plan) = (before.plan(), after.plan());
        let comparison = compare(&old_plan, &new_plan, &settings);
        let sides = [&*old_plan, &*new_plan].map(|plan| Side::new(plan, &settings));
        let [old, new] = &sides;
        for difference in &comparison.differences {
            let asked = [old, new].map(|side| side.ask_reference(&difference.question));
            assert_eq!(asked, [Some(difference.old), Some(difference.new)], "{difference:?}");
            // What is shown for pasting is the request that was asked.
            let text = difference.question.text(&settings);
            let file = crate::request_file::RequestFile::read(&text, Some("request.yaml"));
            let file = file.unwrap_or_else(|problems| panic!("{text}{problems:?}"));
            let mut asked = difference.question.file(&settings, None);
            let mut read = file;
            // Numbers of metadata come back as they were, in another type.
            asked.metadata.sort_by(|a, b| a.0.cmp(&b.0));
            read.metadata.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(format!("{asked:?}"), format!("{read:?}"), "{text}");
        }
        let views = [View::Enforced, View::Shadow, View::Audit];
        let mut by_probes: BTreeMap<View, Question> = BTreeMap::new();
        for _ in 0..probes {
            let question = pool.question(&mut dice, most_policies);
            let (Some(old), Some(new)) = (old.ask(&question), new.ask(&question)) else { continue };
            for view in views {
                if changes(view, &old, &new) {
                    by_probes.entry(view).or_insert_with(|| question.clone());
                }
            }
        }
        let found = |view| comparison.differences.iter().any(|it| it.view == view);
        for view in views {
            if let Some(question) = by_probes.get(&view)
                && !found(view)
            {
                let answers = [old, new].map(|side| side.ask(question));
                tally.missed.push(format!(
                    "edit {number} ({name}), {view:?}: {answers:?}\n{}{:?}\nold {before:?}\nnew {after:?}",
                    question.text(&settings),
                    question.token
                ));
            }
        }
        if comparison.equal {
            assert!(by_probes.is_empty(), "equal after {name}, edit {number}: {by_probes:?}");
        }
        let (is_found, is_probed) =
            (found(View::Enforced), by_probes.contains_key(&View::Enforced));
        tally.equal += usize::from(comparison.equal);
        tally.found += usize::from(is_found);
        tally.found_by_probes += usize::from(is_probed);
        tally.found_alone += usize::from(is_found && !is_probed);
        tally.gave_up += usize::from(comparison.gave_up);
        tally.requests += comparison.requests;
        let of_edit = tally.by_edit.entry(name).or_default();
        of_edit[0] += 1;
        of_edit[1] += usize::from(is_found);
    }
    tally
}

#[test]
fn what_random_requests_find_is_found() {
    let tally = run(1, 40, 300, 4);
    assert!(tally.missed.is_empty(), "{:#?}", tally.missed);
    assert!(tally.found_by_probes > 5 && tally.equal > 1, "{tally:?}");
}

/// Long lists are not looked at whole, and nothing is missed for it.
#[test]
fn nothing_is_missed_in_a_crowd() {
    let tally = run(2, 20, 300, 40);
    assert!(tally.missed.is_empty(), "{:#?}", tally.missed);
    assert!(tally.found > 2, "{tally:?}");
}

/// The whole: `POSTERN_DIFF_EDITS=500 POSTERN_DIFF_PROBES=10000 cargo test --release --lib
/// policy_diff -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes; the same with less is never left out"]
#[expect(clippy::disallowed_methods, reason = "how much is asked is said from outside")]
#[expect(clippy::print_stdout, reason = "what it came to is what it is run for")]
fn what_random_requests_find_is_found_at_length() {
    let number = |name: &str, usual: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    };
    let (edits, probes) =
        (number("POSTERN_DIFF_EDITS", 500), number("POSTERN_DIFF_PROBES", 10_000));
    let seed = number("POSTERN_DIFF_SEED", 7) as u64;
    let start = Instant::now();
    let tally = run(seed, edits, probes, number("POSTERN_DIFF_POLICIES", 4));
    println!("seed {seed}, {probes} probes for each edit, {:.0?}: {tally:#?}", start.elapsed());
    assert!(tally.missed.is_empty());
}
