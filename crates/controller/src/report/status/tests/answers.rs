//! What a status says about the targets of an answer.

use prunella_core::decide::Reached;
use prunella_core::observation::Series;

use super::*;

/// A policy without unhealthy targets.
fn quiet(selected: usize, matching: Matching, reach: Option<Reach>) -> Case {
    let mut case = Case::refused(BreachPhase::Firing, Reason::Cooldown);
    case.decision.refusals.clear();
    case.decision.memory.timers.clear();
    case.decision.counts.selected = selected;
    case.decision.matching = matching;
    case.decision.memory.reached = reach.map(|reach| Reached { at: NOW, reach });
    case
}

fn matching(returned: usize, matched: usize, first_ignored: Option<Labels>) -> Matching {
    let mut matching = Matching::default();
    (matching.returned, matching.matched, matching.first_ignored) = (returned, matched, first_ignored);
    matching
}

#[test]
fn a_selector_that_selects_nothing_is_named_before_the_series() {
    let labels = Labels::from([("pod".to_owned(), "web-1".to_owned())]);
    let ignored = matching(1, 0, Some(labels));
    let reason = |case: &Case, kind: &str| {
        let conditions = case.status().conditions;
        conditions.into_iter().find(|one| one.type_ == kind).map(|one| one.reason).unwrap_or_default()
    };
    for (selected, matching, reach, observed, healthy) in [
        (0, Matching::default(), None, "Answered", "NoTarget"),
        (0, ignored.clone(), Some(Reach::Targets), "NoTarget", "NoTarget"),
        (0, ignored.clone(), None, "NoTarget", "NoTarget"),
        (0, Matching::default(), Some(Reach::NoSeries), "NoSeries", "NoTarget"),
        (1, ignored.clone(), None, "NoSeriesMatchesTargets", "NotObserved"),
        (1, ignored, Some(Reach::Targets), "Answered", "AllTargetsHealthy"),
    ] {
        let case = quiet(selected, matching, reach.clone());
        let found = (reason(&case, "Observed"), reason(&case, "Healthy"));
        assert_eq!(found, (observed.to_owned(), healthy.to_owned()), "{selected} selected, {reach:?}");
    }
}

#[test]
fn a_young_target_in_the_answer_is_not_shown_as_healthy() {
    let mut case = quiet(1, matching(1, 1, None), Some(Reach::Targets));
    case.decision.too_young.insert(pod().uid, NOW);
    let message = case.message("Healthy");
    assert!(
        message.contains("1 of 1 selected targets is in the answer") && message.contains("1970-01-01"),
        "{message}"
    );
    assert_eq!(case.condition("Blocked"), ("True".to_owned(), "TooYoung".to_owned()));
}

#[test]
fn a_breached_target_younger_than_min_age_is_shown_with_the_time() {
    let mut case = quiet(3, matching(1, 1, None), Some(Reach::Targets));
    case.decision.below_min_age.insert(pod().uid, NOW);
    assert_eq!(case.condition("Healthy"), ("Unknown".to_owned(), "TooYoung".to_owned()));
    let message = case.message("Healthy");
    let says = ["1 of 3 selected targets is breached", "younger than minAge (1m)", "before 1970-01-01T00:00:00Z"];
    assert!(says.iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(case.condition("Blocked"), ("True".to_owned(), "TooYoung".to_owned()));
    let message = case.message("Blocked");
    assert!(message.contains("1 target") && message.contains("not before 1970-01-01T00:00:00Z"), "{message}");
    let blocked = case.status().blocked;
    assert_eq!(blocked.iter().map(|one| (one.reason.as_str(), one.count)).collect::<Vec<_>>(), [("TooYoung", 1)]);
}

#[test]
fn the_targets_of_the_answer_are_counted() {
    let series = Series { labels: Labels::new(), value: 1.0 };
    let mut matching = matching(3, 2, None);
    matching.finished = 1;
    matching.breached.insert(pod().uid, series);
    let message = quiet(1, matching, None).message("Observed");
    assert_eq!(message, "the query returned series of 1 selected target; pods that have finished are ignored");
}
