//! The estimate compared with a model server whose true time is known.

use super::*;
use proptest::prelude::*;

/// 2026-01-01, in nanoseconds. Any time would do.
const EPOCH: i128 = 1_767_225_600 * SECOND;

/// A server whose clock runs `ppm` millionths too fast. A test can set the clock.
#[derive(Debug, Clone, Copy)]
struct ModelServer {
    epoch: i128,
    ppm: i128,
}

impl ModelServer {
    fn exact() -> Self {
        Self { epoch: EPOCH, ppm: 0 }
    }

    fn time(self, at: Duration) -> i128 {
        let at = nanoseconds(at);
        self.epoch + at + at * self.ppm / 1_000_000
    }

    /// The answer to a request that was sent at `asked`, reached the server after `there`, and whose
    /// answer arrived after `back` more.
    fn answer(self, asked: Duration, there: Duration, back: Duration) -> TimeSample {
        let second = self.time(asked + there).div_euclid(SECOND);
        TimeSample { asked, answered: asked + there + back, second: i64::try_from(second).unwrap() }
    }
}

/// How far the estimate is ahead of the server.
fn ahead(estimate: &Estimate, server: ModelServer, now: Duration) -> i128 {
    estimate.nanoseconds(now).unwrap() - server.time(now)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Learns `count` answers, one every 1.37 s, each with a latency of 10 ms. Returns when the last
/// one arrived.
fn settle(estimate: &mut Estimate, server: ModelServer, from: Duration, count: u32) -> Duration {
    let mut now = from;
    for _ in 0..count {
        now += ms(1370);
        let answer = server.answer(now, ms(5), ms(5));
        estimate.learn(answer);
        now = answer.answered;
    }
    now
}

#[test]
fn without_an_answer_there_is_no_time() {
    let estimate = Estimate::default();
    assert_eq!(estimate.at(ms(5)), None);
    assert_eq!(estimate.age(ms(5)), None);
}

#[test]
fn the_error_gets_smaller_than_the_second_of_a_date_header() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, ModelServer::exact(), ms(0), 50);
    let ahead = ahead(&estimate, ModelServer::exact(), now);
    assert!((-SECOND / 10..=0).contains(&ahead), "{ahead} ns ahead");
}

#[test]
fn a_slow_answer_does_not_increase_the_error() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, ModelServer::exact(), ms(0), 50);
    let before = ahead(&estimate, ModelServer::exact(), now);
    for (there, back) in [(ms(0), ms(9000)), (ms(9000), ms(0))] {
        let answer = ModelServer::exact().answer(now, there, back);
        assert_eq!(estimate.learn(answer), Learned::Refined);
        let after = ahead(&estimate, ModelServer::exact(), answer.answered);
        assert!((before - SECOND / 50..=0).contains(&after), "moved by {} ns", after - before);
    }
}

#[test]
fn the_age_is_that_of_the_newest_answer() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, ModelServer::exact(), ms(0), 1);
    assert_eq!(estimate.age(now + ms(61_000)), Some(ms(61_000)));
    settle(&mut estimate, ModelServer::exact(), now + ms(60_000), 1);
    assert!(estimate.age(now + ms(61_500)).unwrap() < ms(1000));
}

#[test]
fn contradicting_answers_do_not_reset_the_age() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, ModelServer::exact(), ms(0), 5);
    settle(&mut estimate, ModelServer { epoch: EPOCH + 60 * SECOND, ppm: 0 }, now, 2);
    assert!(estimate.age(now + ms(4000)).unwrap() >= ms(4000));
}

#[test]
fn a_step_of_the_servers_clock_is_adopted_after_three_answers() {
    for by in [-86_400, -600, -30, -3, 3, 30, 600, 86_400] {
        let mut estimate = Estimate::default();
        let now = settle(&mut estimate, ModelServer::exact(), ms(0), 20);
        let stepped = ModelServer { epoch: EPOCH + by * SECOND, ppm: 0 };
        let now = settle(&mut estimate, stepped, now, 3);
        let ahead = ahead(&estimate, stepped, now);
        assert!((-SECOND..=0).contains(&ahead), "step of {by} s: {ahead} ns ahead");
    }
}

#[test]
fn a_few_answers_of_another_server_are_not_adopted() {
    let mut estimate = Estimate::default();
    let mut now = settle(&mut estimate, ModelServer::exact(), ms(0), 20);
    for _ in 0..10 {
        now = settle(&mut estimate, ModelServer { epoch: EPOCH + 5 * SECOND, ppm: 0 }, now, 2);
        now = settle(&mut estimate, ModelServer::exact(), now, 1);
        let ahead = ahead(&estimate, ModelServer::exact(), now);
        assert!((-SECOND..=0).contains(&ahead), "{ahead} ns ahead");
    }
}

#[test]
fn drift_is_followed_without_a_step() {
    for ppm in [-900, 900] {
        let server = ModelServer { epoch: EPOCH, ppm };
        let mut estimate = Estimate::default();
        let mut now = ms(0);
        for _ in 0..20_000 {
            now += ms(730);
            let answer = server.answer(now, ms(1), ms(1));
            assert!(matches!(estimate.learn(answer), Learned::Anchored | Learned::Refined));
            now = answer.answered;
        }
        let ahead = ahead(&estimate, server, now);
        assert!((-SECOND / 2..=SECOND / 1000).contains(&ahead), "{ahead} ns ahead");
    }
}

/// One answer of a random history: the pause before the request, and the times to the server and
/// back.
fn round_trip() -> impl Strategy<Value = (u64, u64, u64)> {
    let travel = || prop_oneof![4 => 0..50_u64, 1 => 0..9000_u64];
    (0..8000_u64, travel(), travel())
}

proptest! {
    /// The inputs are answers and the monotonic clock only, so the wall clock has no influence.
    /// The server's epoch is random all the same.
    #[test]
    fn the_error_is_at_most_a_second_and_the_latency(
        epoch in 0..EPOCH * 2,
        ppm in -400..400_i128,
        round_trips in prop::collection::vec(round_trip(), 1..60),
        idle in 0..60_000_u64,
    ) {
        let server = ModelServer { epoch, ppm };
        let mut estimate = Estimate::default();
        let mut now = Duration::ZERO;
        let mut newest = i128::MIN;
        for (pause, there, back) in round_trips {
            let asked = now + ms(pause);
            let answer = server.answer(asked, ms(there), ms(back));
            // The time never goes backwards, also between answers.
            for at in [asked, answer.answered] {
                let time = estimate.nanoseconds(at).unwrap_or(newest);
                prop_assert!(time >= newest);
                newest = time;
            }
            let agrees = matches!(estimate.learn(answer), Learned::Anchored | Learned::Refined);
            prop_assert!(agrees);
            now = answer.answered;
            let latency = nanoseconds(ms(there + back));
            let ahead = ahead(&estimate, server, now);
            prop_assert!(ahead <= 0, "{ahead} ns ahead");
            prop_assert!(-ahead <= SECOND + latency + latency / 500, "{ahead} ns ahead");
            newest = estimate.nanoseconds(now).unwrap();
        }
        let before = ahead(&estimate, server, now);
        let after = ahead(&estimate, server, now + ms(idle));
        prop_assert!((after - before).abs() <= nanoseconds(ms(idle)) * 2 / DRIFT);
    }

    /// The server's clock is set at random. After an answer that agrees, the estimate is right.
    /// It goes backwards only by a step of a second or more.
    #[test]
    fn after_an_agreeing_answer_the_time_is_right(
        round_trips in prop::collection::vec((round_trip(), prop_oneof![3 => Just(0_i128), 1 => -5000..5000_i128]), 1..60),
    ) {
        let mut server = ModelServer::exact();
        let mut estimate = Estimate::default();
        let mut now = Duration::ZERO;
        for ((pause, there, back), step) in round_trips {
            server.epoch += step * SECOND / 1000;
            let answer = server.answer(now + ms(pause), ms(there), ms(back));
            now = answer.answered;
            let before = estimate.nanoseconds(now);
            let learned = estimate.learn(answer);
            let after = estimate.nanoseconds(now).unwrap();
            if let Some(before) = before
                && after < before
            {
                let stepped = matches!(learned, Learned::Stepped { by } if by <= SignedDuration::from_secs(-1));
                prop_assert!(stepped);
            }
            // After a small step backwards the clock stands still, so it may be ahead by up to
            // a second.
            let held = estimate.floor.is_some_and(|floor| floor == after);
            if matches!(learned, Learned::Anchored | Learned::Refined) && !held {
                let latency = nanoseconds(ms(there + back));
                let error = ahead(&estimate, server, now).abs();
                prop_assert!(error <= SECOND + latency + latency / 500, "{error} ns off");
            }
        }
    }

    #[test]
    fn no_answer_causes_a_panic(
        answers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<i64>()), 1..20),
    ) {
        let mut estimate = Estimate::default();
        for (asked, answered, second) in answers {
            estimate.learn(TimeSample { asked: Duration::from_secs(asked), answered: Duration::from_secs(answered), second });
            let _ = estimate.at(Duration::from_secs(answered));
        }
    }
}

#[test]
fn two_replicas_whose_own_clocks_are_ten_minutes_apart_agree_on_the_time() {
    // A new leader whose time is ten minutes ahead would skip `for` and move every window. The
    // estimate uses only elapsed time of the process: the first process receives its first
    // answer after a second, the other one after ten minutes and a second.
    let ten_minutes = Duration::from_mins(10);
    let server = ModelServer::exact();
    let behind = ModelServer { epoch: server.epoch - nanoseconds(ten_minutes), ..server };
    let (mut first, mut second) = (Estimate::default(), Estimate::default());
    let now = settle(&mut first, server, ms(1000), 20);
    let later = settle(&mut second, behind, ms(1000) + ten_minutes, 20);
    assert_eq!(later, now + ten_minutes, "the same instant");
    let apart = first.nanoseconds(now).unwrap() - second.nanoseconds(later).unwrap();
    assert!(apart.abs() <= SECOND / 10, "{apart} ns apart");
}
