//! What a history is made of: the cluster, the policies, what becomes unhealthy, and what
//! goes wrong when. A seed stands for one; a story writes its own.

use jiff::SignedDuration;
use prunella_core::action::{ActionSpec, PodRemoval, ProtectedPod, Removal, Restart, ScaleSpec, Towards};
use prunella_core::availability::MinAvailable;
use prunella_core::policy::{
    LadderStep, MaxUnhealthy, NoDataRule, Policy, PolicyKey, PolicyLimits, PolicyMode, QueryTraits, SeriesMatch,
    StormRule, SubjectCap,
};

use crate::dice::Dice;
use crate::faults::Weather;
use crate::prometheus::{Condition, Health};

/// One history before it happens.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// From here all randomness comes.
    pub seed: u64,
    /// How many controllers run at once, without a lease between them.
    pub controllers: usize,
    /// The policies, by the places of the workloads whose pods they select.
    pub policies: Vec<(Policy, Vec<usize>, Condition)>,
    /// How many finished records a policy keeps at least.
    pub history_limit: usize,
    /// The workloads.
    pub workloads: Vec<WorkloadPlan>,
    /// What becomes unhealthy.
    pub episode: Episode,
    /// How long things go wrong.
    pub storm: SignedDuration,
    /// How long they go right after that at most.
    pub calm: SignedDuration,
    /// How long they do at least; then it ends as soon as no action is under way.
    pub at_least_calm: SignedDuration,
    /// How often what goes wrong while they do.
    pub weather: Weather,
    /// What happens, and when.
    pub happenings: Vec<(SignedDuration, Happening)>,
    /// Time between two samples.
    pub scrape_interval: SignedDuration,
    /// How old a sample may be and still count.
    pub lookback: SignedDuration,
    /// Whether a series carries its pod's uid. Without it a pod whose name recurs is
    /// taken for its predecessor for as long as the predecessor's samples last.
    pub uid_label: bool,
    /// Whether the place of the looks in their interval moves, as it does when scrapes do.
    pub looks_move: bool,
}

/// A workload.
#[derive(Debug, Clone)]
pub struct WorkloadPlan {
    /// How many pods it wants.
    pub replicas: i32,
    /// Whether a successor carries its predecessor's name, as in a `StatefulSet`.
    pub stable: bool,
    /// The longest time, in seconds, until a replacement is made.
    pub made_within: i64,
    /// The longest time, in seconds, until a new pod is ready.
    pub ready_within: i64,
}

/// Who becomes unhealthy, and when.
#[derive(Debug, Clone)]
pub struct Episode {
    /// How many in a hundred of the pods that are there from the start.
    pub at_first: u32,
    /// How many in a hundred of the replacements.
    pub again: u32,
    /// The longest time, in seconds, until it begins.
    pub begins_within: i64,
    /// How many in a hundred get well by themselves, and may become unhealthy again.
    pub passes: u32,
    /// The longest time, in seconds, until it has passed, or comes back.
    pub passes_within: i64,
}

/// What happens to the world from outside.
#[derive(Debug, Clone, Copy)]
pub enum Happening {
    /// The process of this number is killed.
    Crash(usize),
    /// It is stopped, and goes on after this time with what it knew.
    Pause(usize, SignedDuration),
    /// No watch event reaches it for this time.
    Blind(usize, SignedDuration),
    /// It lists the world anew.
    Relist(usize),
    /// The source becomes like this.
    Source(Health),
    /// So many in a hundred of the exporters die.
    Silence(u32),
    /// All exporters live again.
    Speak,
    /// A workload's disruption budget allows evictions, or none.
    Disruption(usize, bool),
    /// A policy is suspended, or goes on.
    Suspend(usize, bool),
    /// Somebody else deletes a pod of a workload.
    Deleted(usize),
    /// A pod of a workload that is there from the start becomes unhealthy.
    Unhealthy(usize, usize),
    /// From here on nothing goes wrong any more.
    Calm,
}

/// A policy that looks every ten seconds, acts after thirty and is content after
/// twenty; three actions an hour, one at a time.
#[must_use]
pub fn policy(name: &str) -> Policy {
    let seconds = SignedDuration::from_secs;
    Policy {
        key: PolicyKey { namespace: "shop".into(), name: name.into() },
        mode: PolicyMode::Enforce,
        interval: seconds(10),
        breach_for: seconds(30),
        clear_for: seconds(20),
        on_no_data: NoDataRule::Hold,
        series: SeriesMatch::Label("pod".into()),
        namespace_label: "namespace".into(),
        pinned: false,
        query: QueryTraits::default(),
        min_age: seconds(0),
        signal_window: seconds(45),
        reset_at: None,
        longest_gap: seconds(45),
        suspended: false,
        digest: "rule".into(),
        steps: vec![step(2), step(1)],
        limits: PolicyLimits {
            cooldown: seconds(60),
            max_actions: 3,
            window: seconds(3600),
            max_concurrent: 1,
            ladder_reset: seconds(3600),
            subject_cap: SubjectCap { count: 5, window: seconds(3600) },
            min_available: MinAvailable::Percent(75),
            max_unhealthy: MaxUnhealthy::Percent(50),
            on_storm: StormRule::Probe,
            storm_cooldown: seconds(60),
        },
    }
}

/// An eviction, tried up to `attempts` times and watched for two minutes.
#[must_use]
pub fn step(attempts: u32) -> LadderStep {
    LadderStep {
        name: "evict".into(),
        action: ActionSpec::DeletePod(PodRemoval {
            removal: Removal::Evict,
            grace: Some(SignedDuration::from_secs(5)),
            protected: ProtectedPod::Skip,
        }),
        attempts,
        verify_within: SignedDuration::from_mins(2),
        ready_within: None,
    }
}

/// Any action, tried up to `attempts` times: most often an eviction.
fn any_step(attempts: u32, dice: &mut Dice) -> LadderStep {
    let scale = |towards| {
        ActionSpec::Scale(ScaleSpec { towards, min: 1, max: 5, raise_minimum: false, allow_volume_loss: false })
    };
    let action = match dice.between(0, 9) {
        0..=5 => return step(attempts),
        6..=7 => ActionSpec::RolloutRestart(Restart),
        8 => scale(Towards::By(1)),
        _ => scale(Towards::By(-1)),
    };
    LadderStep { action, ..step(attempts) }
}

impl Scenario {
    /// One controller and one Deployment with three pods, nobody unhealthy, nothing wrong:
    /// where a story begins.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            seed: 1,
            controllers: 1,
            policies: vec![(policy("web"), vec![0], Condition::Newest)],
            history_limit: 10,
            workloads: vec![WorkloadPlan { replicas: 3, stable: false, made_within: 2, ready_within: 5 }],
            episode: Episode { at_first: 0, again: 0, begins_within: 60, passes: 0, passes_within: 60 },
            storm: SignedDuration::ZERO,
            calm: SignedDuration::from_mins(30),
            at_least_calm: SignedDuration::from_mins(30),
            uid_label: true,
            looks_move: false,
            weather: Weather::calm(),
            happenings: Vec::new(),
            scrape_interval: SignedDuration::from_secs(5),
            lookback: SignedDuration::from_secs(45),
        }
    }

    /// The history that a seed stands for.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let dice = &mut dice;
        let workloads: Vec<WorkloadPlan> = (0..dice.between(1, 2)).map(|_| workload(dice)).collect();
        let controllers = if dice.percent(60) { 2 } else { 1 };
        let policies = policies(workloads.len(), dice);
        let storm = dice.seconds(300, 1500);
        let scrape_interval = SignedDuration::from_secs(dice.pick(&[5, 10, 15]));
        let lookback = SignedDuration::from_secs(45);
        let weather = weather(dice);
        let counts = Counts { controllers, policies: policies.len(), workloads: workloads.len() };
        let happenings = happenings(&counts, storm, &weather, dice);
        Self {
            seed,
            controllers,
            policies,
            history_limit: dice.pick(&[1, 3, 10]),
            workloads,
            episode: Episode {
                at_first: dice.pick(&[20, 50, 100]),
                again: dice.pick(&[0, 30, 100]),
                begins_within: dice.pick(&[5, 60, 900]),
                passes: dice.pick(&[0, 0, 30, 100]),
                passes_within: dice.pick(&[30, 90, 300]),
            },
            storm,
            calm: SignedDuration::from_mins(22),
            at_least_calm: SignedDuration::from_mins(6),
            uid_label: true,
            looks_move: dice.percent(50),
            weather,
            happenings,
            scrape_interval,
            lookback,
        }
    }
}

fn workload(dice: &mut Dice) -> WorkloadPlan {
    WorkloadPlan {
        replicas: i32::try_from(dice.between(1, 4)).unwrap_or(1),
        stable: dice.percent(35),
        made_within: dice.pick(&[0, 1, 5, 60]),
        ready_within: dice.pick(&[1, 10, 60, 400]),
    }
}

fn policies(workloads: usize, dice: &mut Dice) -> Vec<(Policy, Vec<usize>, Condition)> {
    let names = if dice.percent(50) { &["web"][..] } else { &["web", "shop"][..] };
    let all: Vec<usize> = (0..workloads).collect();
    let seconds = SignedDuration::from_secs;
    names
        .iter()
        .map(|name| {
            let interval = seconds(dice.pick(&[5, 10, 15, 30]));
            let base = policy(name);
            let clear_for = interval.max(seconds(dice.pick(&[10, 20, 40])));
            let condition = if dice.percent(30) { Condition::Range(seconds(60)) } else { Condition::Newest };
            let steps = dice.pick(&[&[1][..], &[2, 1], &[3], &[1, 1, 1]]);
            let rule = Policy {
                interval,
                min_age: seconds(dice.pick(&[0, 0, 30])),
                breach_for: seconds(dice.pick(&[0, 10, 30, 60, 120])),
                clear_for,
                longest_gap: (interval * 2).max(seconds(45)),
                steps: steps.iter().map(|attempts| any_step(*attempts, dice)).collect(),
                limits: PolicyLimits {
                    cooldown: seconds(dice.pick(&[0, 30, 120, 300])),
                    max_actions: dice.pick(&[1, 2, 3, 5]),
                    window: seconds(dice.pick(&[120, 300, 900, 3600])),
                    max_concurrent: dice.pick(&[1, 1, 2, 3]),
                    ladder_reset: seconds(dice.pick(&[300, 3600])),
                    subject_cap: SubjectCap { count: dice.pick(&[2, 5, 20]), window: seconds(3600) },
                    min_available: MinAvailable::Percent(75),
                    max_unhealthy: MaxUnhealthy::Percent(dice.pick(&[20, 50, 100])),
                    on_storm: if dice.percent(80) { StormRule::Probe } else { StormRule::Hold },
                    storm_cooldown: seconds(dice.pick(&[0, 60, 300])),
                },
                ..base
            };
            let selects = if dice.percent(80) { all.clone() } else { vec![0] };
            (rule, selects, condition)
        })
        .collect()
}

fn weather(dice: &mut Dice) -> Weather {
    // Some histories meet everything at once, most only some of it: a fault shows best
    // where nothing else hides it.
    let rates = [0, 0, 5_000, 50_000, 200_000];
    let writes = |dice: &mut Dice| dice.pick(&rates);
    Weather {
        lost: writes(dice),
        answer_lost: writes(dice),
        delayed: writes(dice),
        refused: writes(dice),
        killed_before: writes(dice) / 2,
        killed_after: writes(dice) / 2,
        killed: dice.pick(&[0, 0, 500, 5_000]),
        paused: dice.pick(&[0, 0, 500, 5_000]),
        unreadable: dice.pick(&[0, 10_000, 200_000]),
    }
}

/// How many there are of what something can happen to.
struct Counts {
    controllers: usize,
    policies: usize,
    workloads: usize,
}

fn happenings(
    counts: &Counts,
    storm: SignedDuration,
    weather: &Weather,
    dice: &mut Dice,
) -> Vec<(SignedDuration, Happening)> {
    let last = i64::try_from(storm.as_millis()).unwrap_or(0);
    let one_of = |count: usize, dice: &mut Dice| {
        usize::try_from(dice.between(0, i64::try_from(count).unwrap_or(1) - 1)).unwrap_or(0)
    };
    // An eviction may be given up, unless one that was sent may still arrive after that.
    let longest_closed = if weather.delayed == 0 && weather.paused == 0 { 900 } else { 300 };
    let mut all = Vec::new();
    for _ in 0..dice.pick(&[0, 3, 10, 30]) {
        let at = dice.millis(0, last);
        let until = at + dice.seconds(1, 120);
        let process = one_of(counts.controllers, dice);
        let workload = one_of(counts.workloads, dice);
        let lasts = if dice.percent(30) { dice.seconds(30, 200) } else { dice.seconds(0, 20) };
        match dice.between(0, 9) {
            0 => all.push((at, Happening::Crash(process))),
            1 => all.push((at, Happening::Pause(process, lasts))),
            2 => all.push((at, Happening::Blind(process, lasts))),
            3 => all.push((at, Happening::Relist(process))),
            4 | 5 => {
                let health = if dice.percent(50) { Health::Down } else { Health::Hanging };
                all.extend([(at, Happening::Source(health)), (until, Happening::Source(Health::Up))]);
            }
            6 => all.extend([(at, Happening::Silence(dice.pick(&[30, 100]))), (until, Happening::Speak)]),
            7 => {
                // Longer than an eviction is tried, now and then.
                let until = until + dice.seconds(0, longest_closed) * i32::from(dice.percent(50));
                all.extend([
                    (at, Happening::Disruption(workload, false)),
                    (until, Happening::Disruption(workload, true)),
                ]);
            }
            8 => {
                let policy = one_of(counts.policies, dice);
                all.extend([(at, Happening::Suspend(policy, true)), (until, Happening::Suspend(policy, false))]);
            }
            _ => all.push((at, Happening::Deleted(workload))),
        }
    }
    all
}
