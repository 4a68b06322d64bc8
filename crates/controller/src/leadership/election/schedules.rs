//! Two candidates on random schedules, in virtual time. Requests and answers are late or lost.
//! Replicas are paused, killed and stopped. Every monotonic clock has its own origin and drift, and
//! wall clocks are random. At every instant, the test checks that at most one replica may act, by
//! the state that it published and its own monotonic clock, also while it is paused. A Lease cannot
//! stop a replica that is paused between its check and its write, but the check must always be
//! right.

use super::*;
use proptest::prelude::*;

/// The step of virtual time.
const TICK: Duration = Duration::from_millis(20);
const LENGTH: u32 = 6000;

/// Random numbers that proptest can shrink: a list that is used again and again.
#[derive(Debug, Clone)]
struct RandomNumbers(Vec<u32>, usize);

impl RandomNumbers {
    fn below(&mut self, end: u32) -> u32 {
        self.1 = (self.1 + 1) % self.0.len();
        // The numbers differ in every round. Otherwise a short list would repeat the same history.
        let round = u32::try_from(self.1).unwrap_or(0).wrapping_mul(2_654_435_761);
        (self.0[self.1].wrapping_mul(2_246_822_519) ^ round).rotate_right(15) % end
    }

    fn advance(&mut self) {
        let first = self.0[0];
        for value in &mut self.0 {
            *value = value.wrapping_mul(1_664_525).wrapping_add(first | 1);
        }
    }
}

/// The API server with its Lease.
#[derive(Debug, Default)]
struct LeaseServer {
    lease: Option<LeaseRecord>,
    version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LeaseRequest {
    Read,
    Claim { base: Option<String>, record: LeaseRecord },
    Release { base: String, record: LeaseRecord },
}

#[derive(Debug, Clone)]
enum LeaseAnswer {
    Found(LeaseRecord),
    Absent,
    Refused,
}

impl LeaseServer {
    fn apply(&mut self, request: &LeaseRequest) -> LeaseAnswer {
        let (base, record) = match request {
            LeaseRequest::Read => return self.lease.clone().map_or(LeaseAnswer::Absent, LeaseAnswer::Found),
            LeaseRequest::Claim { base, record } => (base.clone(), record),
            LeaseRequest::Release { base, record } => (Some(base.clone()), record),
        };
        if self.lease.as_ref().map(|lease| lease.version.clone()) != base {
            return LeaseAnswer::Refused;
        }
        self.version += 1;
        let record = LeaseRecord { version: self.version.to_string(), ..record.clone() };
        self.lease = Some(record.clone());
        LeaseAnswer::Found(record)
    }

    /// Somebody sets a label.
    fn edit(&mut self) {
        self.version += 1;
        if let Some(lease) = &mut self.lease {
            lease.version = self.version.to_string();
        }
    }
}

/// A request in flight, and its answer.
#[derive(Debug)]
struct InFlight {
    request: LeaseRequest,
    /// When it reaches the server. `None`: never, or it already did.
    arrives: Option<Duration>,
    /// When the answer arrives. `None`: never.
    returns: Option<Duration>,
    answer: Option<LeaseAnswer>,
}

#[derive(Debug)]
struct SimulatedReplica {
    election: Election,
    /// The monotonic clock: its time at true time 0, and by how many millionths it runs too fast.
    origin: Duration,
    ppm: i64,
    restarts: u32,
    /// The published state: it may act until then, by its monotonic clock.
    until: Option<Duration>,
    /// The index of the request that it waits for, and its deadline.
    waits: Option<(usize, Duration)>,
    mark: i64,
    /// The marks of all its claims, in all its terms.
    marks: Vec<Timestamp>,
    paused_until: Duration,
    resigned: bool,
}

impl SimulatedReplica {
    fn new(name: usize, restarts: u32, timing: Timing, random: &mut RandomNumbers) -> Self {
        Self {
            election: Election::new(format!("{name}-{restarts}"), timing, Vec::new(), LeaseSeen::Nothing),
            marks: Vec::new(),
            origin: Duration::from_secs(random.below(1_000_000).into()),
            ppm: i64::from(random.below(1001)) - 500,
            restarts,
            until: None,
            waits: None,
            mark: 0,
            paused_until: Duration::ZERO,
            resigned: false,
        }
    }

    fn clock(&self, now: Duration) -> Duration {
        let nanos = i64::try_from(now.as_nanos()).unwrap();
        self.origin + Duration::from_nanos(u64::try_from(nanos + nanos / 1_000_000 * self.ppm).unwrap())
    }

    fn may_act(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| self.clock(now) < until)
    }

    /// The time of a wall clock that is set at random. Never the same twice in one replica.
    fn stamp(&mut self, random: &mut RandomNumbers) -> Timestamp {
        self.mark = (self.mark + 1).max(i64::from(random.below(1 << 20)));
        let mark = Timestamp::from_microsecond(self.mark).unwrap();
        self.marks.push(mark);
        mark
    }

    fn record(&mut self, timing: Timing, random: &mut RandomNumbers) -> LeaseRecord {
        let mark = Some(self.stamp(random));
        LeaseRecord { holder: self.election.me.clone(), duration: timing.lease(), version: String::new(), mark }
    }

    /// Stands for election again after it has lost the leadership.
    fn stand_again(&mut self, timing: Timing) {
        self.until = None;
        self.election = Election::new(self.election.me.clone(), timing, self.marks.clone(), self.election.seen());
    }

    fn receive(&mut self, request: &LeaseRequest, answer: Option<&LeaseAnswer>, now: Duration) {
        let now = self.clock(now);
        match (request, answer) {
            (LeaseRequest::Read, Some(LeaseAnswer::Found(record))) => self.election.found(record.clone(), now),
            (LeaseRequest::Read, Some(LeaseAnswer::Absent)) => self.election.absent(now),
            (LeaseRequest::Read, _) => self.election.read_failed(now),
            (LeaseRequest::Claim { .. }, Some(LeaseAnswer::Found(record))) => {
                self.election.claimed(record.clone(), now);
            }
            (LeaseRequest::Claim { .. }, Some(_)) => self.election.refused(now),
            (LeaseRequest::Claim { record, .. }, None) => self.election.unanswered(record.mark.unwrap(), now),
            (LeaseRequest::Release { .. }, _) => {}
        }
        if !self.resigned {
            self.until = self.election.leads_until();
        }
    }
}

/// How often faults happen in a history: each is one in so many.
#[derive(Debug, Clone, Copy)]
struct FaultRates {
    lost: u32,
    late: u32,
    pause: u32,
    kill: u32,
    resign: u32,
    edit: u32,
}

struct ElectionSimulation {
    timing: Timing,
    faults: FaultRates,
    random: RandomNumbers,
    server: LeaseServer,
    in_flight: Vec<InFlight>,
    replicas: Vec<SimulatedReplica>,
    /// In how many ticks a replica could act.
    led: u32,
}

impl ElectionSimulation {
    fn new(timing: Timing, faults: FaultRates, mut random: RandomNumbers) -> Self {
        let replicas = (0..2).map(|name| SimulatedReplica::new(name, 0, timing, &mut random)).collect();
        Self { timing, faults, random, server: LeaseServer::default(), in_flight: Vec::new(), replicas, led: 0 }
    }

    fn one_in(&mut self, odds: u32) -> bool {
        odds > 0 && self.random.below(odds) == 0
    }

    fn latency(&mut self) -> Duration {
        let longest = if self.one_in(self.faults.late) { 20_000 } else { 60 };
        Duration::from_millis(self.random.below(longest).into())
    }

    fn send(&mut self, who: usize, request: LeaseRequest, now: Duration) {
        let arrives = (!self.one_in(self.faults.lost)).then(|| now + self.latency());
        let back = (!self.one_in(self.faults.lost)).then(|| self.latency());
        let returns = arrives.zip(back).map(|(arrives, back)| arrives + back);
        self.in_flight.push(InFlight { request, arrives, returns, answer: None });
        self.replicas[who].waits = Some((self.in_flight.len() - 1, now + self.timing.request()));
    }

    fn tick(&mut self, now: Duration) -> Result<(), TestCaseError> {
        self.random.advance();
        for flight in &mut self.in_flight {
            if flight.arrives.is_some_and(|arrives| arrives <= now) {
                flight.arrives = None;
                flight.answer = Some(self.server.apply(&flight.request));
            }
        }
        if self.one_in(self.faults.edit) {
            self.server.edit();
        }
        for who in 0..self.replicas.len() {
            self.run_replica(who, now);
        }
        let acting = self.replicas.iter().filter(|replica| replica.may_act(now)).count();
        self.led += u32::from(acting > 0);
        prop_assert!(acting <= 1, "both may act at {now:?}: {:#?}", self.replicas);
        Ok(())
    }

    fn run_replica(&mut self, who: usize, now: Duration) {
        if self.one_in(self.faults.kill) {
            // Its requests stay in flight.
            self.restart(who);
        }
        if self.one_in(self.faults.pause) {
            let pause = Duration::from_millis(self.random.below(40_000).into());
            self.replicas[who].paused_until = now + pause;
        }
        if now < self.replicas[who].paused_until {
            return;
        }
        if let Some((index, deadline)) = self.replicas[who].waits {
            let InFlight { request, returns, answer, .. } = &self.in_flight[index];
            let answer = answer.as_ref().filter(|_| returns.is_some_and(|returns| returns <= now));
            if answer.is_none() && now < deadline {
                return;
            }
            let replica = &mut self.replicas[who];
            replica.waits = None;
            replica.receive(request, answer, now);
            if replica.resigned {
                self.restart(who);
                return;
            }
        }
        if self.replicas[who].may_act(now) && self.one_in(self.faults.resign) {
            self.resign(who, now);
            return;
        }
        let replica = &mut self.replicas[who];
        let clock = replica.clock(now);
        match replica.election.step(clock) {
            ElectionStep::Read => self.send(who, LeaseRequest::Read, now),
            ElectionStep::Claim(base) => {
                let record = replica.record(self.timing, &mut self.random);
                self.send(who, LeaseRequest::Claim { base, record }, now);
            }
            ElectionStep::Wait(until) => assert!(until > clock, "a wait must end in the future"),
            ElectionStep::Stop(_) => replica.stand_again(self.timing),
        }
    }

    fn resign(&mut self, who: usize, now: Duration) {
        let replica = &mut self.replicas[who];
        replica.resigned = true;
        replica.until = None;
        let base = match &replica.election.seen {
            LeaseSeen::Present { record, .. } => record.version.clone(),
            LeaseSeen::Nothing | LeaseSeen::Absent { .. } => return self.restart(who),
        };
        let record = LeaseRecord {
            holder: String::new(),
            duration: Duration::from_secs(1),
            ..replica.record(self.timing, &mut self.random)
        };
        self.send(who, LeaseRequest::Release { base, record }, now);
    }

    fn restart(&mut self, who: usize) {
        let restarts = self.replicas[who].restarts + 1;
        self.replicas[who] = SimulatedReplica::new(who, restarts, self.timing, &mut self.random);
    }

    fn run(&mut self) -> Result<(), TestCaseError> {
        for tick in 0..LENGTH {
            self.tick(TICK * tick)?;
        }
        Ok(())
    }
}

fn timings() -> impl Strategy<Value = Timing> {
    prop_oneof![
        Just((15_000, 10_000, 2000)),
        Just((3000, 2000, 500)),
        Just((12_000, 10_000, 2000)),
        Just((2000, 1800, 200))
    ]
    .prop_map(|(lease, renew, retry)| {
        Timing::new(Duration::from_millis(lease), Duration::from_millis(renew), Duration::from_millis(retry)).unwrap()
    })
}

fn faults() -> impl Strategy<Value = FaultRates> {
    let odds = |some: u32| prop_oneof![Just(0), some..some * 10];
    (odds(3), odds(3), odds(200), odds(500), odds(500), odds(50))
        .prop_map(|(lost, late, pause, kill, resign, edit)| FaultRates { lost, late, pause, kill, resign, edit })
}

fn random() -> impl Strategy<Value = RandomNumbers> {
    prop::collection::vec(any::<u32>(), 16..64).prop_map(|values| RandomNumbers(values, 0))
}

proptest! {
    #[test]
    fn two_replicas_never_act_at_the_same_instant(timing in timings(), faults in faults(), random in random()) {
        ElectionSimulation::new(timing, faults, random).run()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn without_faults_a_replica_leads_all_the_time(timing in timings(), random in random()) {
        let no_faults = FaultRates { lost: 0, late: 0, pause: 0, kill: 0, resign: 0, edit: 0 };
        let mut simulation = ElectionSimulation::new(timing, no_faults, random);
        simulation.run()?;
        prop_assert!(simulation.led + 50 >= LENGTH, "led for {} of {LENGTH} ticks", simulation.led);
    }

    #[test]
    fn a_new_leader_follows_a_dead_one_within_a_lease_and_a_retry_and_a_released_lease_within_a_retry(
        timing in timings(),
        random in random(),
        releases in any::<bool>(),
    ) {
        let no_faults = FaultRates { lost: 0, late: 0, pause: 0, kill: 0, resign: 0, edit: 0 };
        let mut simulation = ElectionSimulation::new(timing, no_faults, random);
        let half = TICK * (LENGTH / 2);
        let mut freed = None;
        for tick in 0..LENGTH {
            let now = TICK * tick;
            simulation.tick(now)?;
            let leader = simulation.replicas.iter().position(|replica| replica.may_act(now));
            match (leader, freed) {
                (Some(who), None) if now >= half && simulation.replicas[who].waits.is_none() => {
                    if releases {
                        simulation.resign(who, now);
                    } else {
                        simulation.replicas[who].until = None;
                        simulation.replicas[who].paused_until = Duration::MAX;
                    }
                    freed = Some(now);
                }
                (Some(_), Some(freed)) => {
                    // The other replica sees a renewal up to a retry period later.
                    let limit = timing.retry() + if releases { Duration::ZERO } else { timing.lease() };
                    prop_assert!(now.saturating_sub(freed) <= limit + Duration::from_millis(400), "after {:?}", now.saturating_sub(freed));
                    return Ok(());
                }
                _ => {}
            }
        }
        prop_assert!(false, "no replica took over");
    }
}
