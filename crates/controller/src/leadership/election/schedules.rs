//! Two candidates on random schedules, in virtual time: requests and answers are late
//! or lost, processes are paused, killed and told to stop, every monotonic clock starts
//! elsewhere and runs a little wrong, and wall clocks say what they like. Whether a
//! process may act is asked of what it published, by its monotonic clock, also while it
//! is paused: an action between its own question and its pause is not the Lease's to
//! prevent, but the answer must be right at every instant.

use super::*;
use proptest::prelude::*;

/// The step of virtual time.
const TICK: Duration = Duration::from_millis(20);
const LENGTH: u32 = 6000;

/// Random numbers that shrink: taken from a list, over and over.
#[derive(Debug, Clone)]
struct Dice(Vec<u32>, usize);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.1 = (self.1 + 1) % self.0.len();
        // Different every round, or a short list would repeat the same history.
        let round = u32::try_from(self.1).unwrap_or(0).wrapping_mul(2_654_435_761);
        (self.0[self.1].wrapping_mul(2_246_822_519) ^ round).rotate_right(15) % end
    }

    fn turn(&mut self) {
        let first = self.0[0];
        for value in &mut self.0 {
            *value = value.wrapping_mul(1_664_525).wrapping_add(first | 1);
        }
    }
}

/// What the API server holds.
#[derive(Debug, Default)]
struct Server {
    lease: Option<Record>,
    version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Request {
    Look,
    Claim { base: Option<String>, record: Record },
    GiveBack { base: String, record: Record },
}

#[derive(Debug, Clone)]
enum Answer {
    Found(Record),
    Absent,
    Refused,
}

impl Server {
    fn apply(&mut self, request: &Request) -> Answer {
        let (base, record) = match request {
            Request::Look => return self.lease.clone().map_or(Answer::Absent, Answer::Found),
            Request::Claim { base, record } => (base.clone(), record),
            Request::GiveBack { base, record } => (Some(base.clone()), record),
        };
        if self.lease.as_ref().map(|lease| lease.version.clone()) != base {
            return Answer::Refused;
        }
        self.version += 1;
        let record = Record { version: self.version.to_string(), ..record.clone() };
        self.lease = Some(record.clone());
        Answer::Found(record)
    }

    /// Somebody sets a label.
    fn edit(&mut self) {
        self.version += 1;
        if let Some(lease) = &mut self.lease {
            lease.version = self.version.to_string();
        }
    }
}

/// A request on its way, and its answer.
#[derive(Debug)]
struct Flight {
    request: Request,
    /// When the server sees it; `None`: never, or already.
    arrives: Option<Duration>,
    /// When the answer is back; `None`: never.
    returns: Option<Duration>,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Process {
    election: Election,
    /// The monotonic clock: what it says at true time 0, and how many millionths it runs too fast.
    origin: Duration,
    ppm: i64,
    born: u32,
    /// What it published: it may act until then, by its monotonic clock.
    until: Option<Duration>,
    waits: Option<(usize, Duration)>,
    mark: i64,
    paused_until: Duration,
    resigned: bool,
}

impl Process {
    fn new(name: usize, born: u32, timing: Timing, dice: &mut Dice) -> Self {
        Self {
            election: Election::new(format!("{name}-{born}"), timing),
            origin: Duration::from_secs(dice.below(1_000_000).into()),
            ppm: i64::from(dice.below(1001)) - 500,
            born,
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

    /// What a wall clock says that is set at random; never the same twice in a process.
    fn stamp(&mut self, dice: &mut Dice) -> Timestamp {
        self.mark = (self.mark + 1).max(i64::from(dice.below(1 << 20)));
        Timestamp::from_microsecond(self.mark).unwrap()
    }

    fn record(&mut self, timing: Timing, dice: &mut Dice) -> Record {
        let mark = Some(self.stamp(dice));
        Record { holder: self.election.me.clone(), duration: timing.lease(), version: String::new(), mark }
    }

    fn hear(&mut self, request: &Request, answer: Option<&Answer>, now: Duration) {
        let now = self.clock(now);
        match (request, answer) {
            (Request::Look, Some(Answer::Found(record))) => self.election.found(record.clone(), now),
            (Request::Look, Some(Answer::Absent)) => self.election.absent(now),
            (Request::Look, _) => self.election.blind(now),
            (Request::Claim { .. }, Some(Answer::Found(record))) => self.election.claimed(record.clone(), now),
            (Request::Claim { .. }, Some(_)) => self.election.refused(now),
            (Request::Claim { record, .. }, None) => self.election.unanswered(record.mark.unwrap(), now),
            (Request::GiveBack { .. }, _) => {}
        }
        if !self.resigned {
            self.until = self.election.leads_until();
        }
    }
}

/// How rough a history is: one in so many.
#[derive(Debug, Clone, Copy)]
struct Weather {
    lost: u32,
    late: u32,
    pause: u32,
    kill: u32,
    resign: u32,
    edit: u32,
}

struct World {
    timing: Timing,
    weather: Weather,
    dice: Dice,
    server: Server,
    flights: Vec<Flight>,
    processes: Vec<Process>,
    /// For how many ticks somebody could act.
    led: u32,
}

impl World {
    fn new(timing: Timing, weather: Weather, mut dice: Dice) -> Self {
        let processes = (0..2).map(|name| Process::new(name, 0, timing, &mut dice)).collect();
        Self { timing, weather, dice, server: Server::default(), flights: Vec::new(), processes, led: 0 }
    }

    fn one_in(&mut self, odds: u32) -> bool {
        odds > 0 && self.dice.below(odds) == 0
    }

    fn way(&mut self) -> Duration {
        let longest = if self.one_in(self.weather.late) { 20_000 } else { 60 };
        Duration::from_millis(self.dice.below(longest).into())
    }

    fn send(&mut self, who: usize, request: Request, now: Duration) {
        let arrives = (!self.one_in(self.weather.lost)).then(|| now + self.way());
        let back = (!self.one_in(self.weather.lost)).then(|| self.way());
        let returns = arrives.zip(back).map(|(arrives, back)| arrives + back);
        self.flights.push(Flight { request, arrives, returns, answer: None });
        self.processes[who].waits = Some((self.flights.len() - 1, now + self.timing.request()));
    }

    fn tick(&mut self, now: Duration) -> Result<(), TestCaseError> {
        self.dice.turn();
        for flight in &mut self.flights {
            if flight.arrives.is_some_and(|arrives| arrives <= now) {
                flight.arrives = None;
                flight.answer = Some(self.server.apply(&flight.request));
            }
        }
        if self.one_in(self.weather.edit) {
            self.server.edit();
        }
        for who in 0..self.processes.len() {
            self.live(who, now);
        }
        let acting = self.processes.iter().filter(|process| process.may_act(now)).count();
        self.led += u32::from(acting > 0);
        prop_assert!(acting <= 1, "both may act at {now:?}: {:#?}", self.processes);
        Ok(())
    }

    fn live(&mut self, who: usize, now: Duration) {
        if self.one_in(self.weather.kill) {
            // Its requests stay on their way.
            self.reborn(who);
        }
        if self.one_in(self.weather.pause) {
            let pause = Duration::from_millis(self.dice.below(40_000).into());
            self.processes[who].paused_until = now + pause;
        }
        if now < self.processes[who].paused_until {
            return;
        }
        if let Some((flight, deadline)) = self.processes[who].waits {
            let Flight { request, returns, answer, .. } = &self.flights[flight];
            let answer = answer.as_ref().filter(|_| returns.is_some_and(|returns| returns <= now));
            if answer.is_none() && now < deadline {
                return;
            }
            let process = &mut self.processes[who];
            process.waits = None;
            process.hear(request, answer, now);
            if process.resigned {
                self.reborn(who);
                return;
            }
        }
        if self.processes[who].may_act(now) && self.one_in(self.weather.resign) {
            self.resign(who, now);
            return;
        }
        let process = &mut self.processes[who];
        let clock = process.clock(now);
        match process.election.step(clock) {
            Step::Look => self.send(who, Request::Look, now),
            Step::Claim(base) => {
                let record = process.record(self.timing, &mut self.dice);
                self.send(who, Request::Claim { base, record }, now);
            }
            Step::Wait(until) => assert!(until > clock, "it waits for what is past"),
            Step::Stop(_) => self.reborn(who),
        }
    }

    fn resign(&mut self, who: usize, now: Duration) {
        let process = &mut self.processes[who];
        process.resigned = true;
        process.until = None;
        let base = match &process.election.seen {
            Seen::Present { record, .. } => record.version.clone(),
            Seen::Nothing | Seen::Absent { .. } => return self.reborn(who),
        };
        let record = Record {
            holder: String::new(),
            duration: Duration::from_secs(1),
            ..process.record(self.timing, &mut self.dice)
        };
        self.send(who, Request::GiveBack { base, record }, now);
    }

    fn reborn(&mut self, who: usize) {
        let born = self.processes[who].born + 1;
        self.processes[who] = Process::new(who, born, self.timing, &mut self.dice);
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

fn weather() -> impl Strategy<Value = Weather> {
    let odds = |some: u32| prop_oneof![Just(0), some..some * 10];
    (odds(3), odds(3), odds(200), odds(500), odds(500), odds(50))
        .prop_map(|(lost, late, pause, kill, resign, edit)| Weather { lost, late, pause, kill, resign, edit })
}

fn dice() -> impl Strategy<Value = Dice> {
    prop::collection::vec(any::<u32>(), 16..64).prop_map(|values| Dice(values, 0))
}

proptest! {
    #[test]
    fn two_never_act_at_the_same_instant(timing in timings(), weather in weather(), dice in dice()) {
        World::new(timing, weather, dice).run()?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn in_fair_weather_somebody_leads_from_the_first_second_to_the_last(timing in timings(), dice in dice()) {
        let fair = Weather { lost: 0, late: 0, pause: 0, kill: 0, resign: 0, edit: 0 };
        let mut world = World::new(timing, fair, dice);
        world.run()?;
        prop_assert!(world.led + 50 >= LENGTH, "led for {} of {LENGTH} ticks", world.led);
    }

    #[test]
    fn a_dead_leader_is_followed_within_a_lease_and_a_retry_and_a_given_back_lead_within_a_retry(
        timing in timings(),
        dice in dice(),
        gives_back in any::<bool>(),
    ) {
        let fair = Weather { lost: 0, late: 0, pause: 0, kill: 0, resign: 0, edit: 0 };
        let mut world = World::new(timing, fair, dice);
        let half = TICK * (LENGTH / 2);
        let mut freed = None;
        for tick in 0..LENGTH {
            let now = TICK * tick;
            world.tick(now)?;
            let leader = world.processes.iter().position(|process| process.may_act(now));
            match (leader, freed) {
                (Some(who), None) if now >= half && world.processes[who].waits.is_none() => {
                    if gives_back {
                        world.resign(who, now);
                    } else {
                        world.processes[who].until = None;
                        world.processes[who].paused_until = Duration::MAX;
                    }
                    freed = Some(now);
                }
                (Some(_), Some(freed)) => {
                    // Of a renewal the other one hears up to a retry period later.
                    let limit = timing.retry() + if gives_back { Duration::ZERO } else { timing.lease() };
                    prop_assert!(now.saturating_sub(freed) <= limit + Duration::from_millis(400), "after {:?}", now.saturating_sub(freed));
                    return Ok(());
                }
                _ => {}
            }
        }
        prop_assert!(false, "nobody took over");
    }
}
