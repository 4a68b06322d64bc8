//! The estimate against a model server, whose true time is known.

use super::*;
use proptest::prelude::*;

/// 2026-01-01, in nanoseconds: any time will do.
const EPOCH: i128 = 1_767_225_600 * SECOND;

/// A server whose clock is set now and then, and runs `ppm` millionths too fast.
#[derive(Debug, Clone, Copy)]
struct Server {
    epoch: i128,
    ppm: i128,
}

impl Server {
    fn exact() -> Self {
        Self { epoch: EPOCH, ppm: 0 }
    }

    fn time(self, at: Duration) -> i128 {
        let at = nanoseconds(at);
        self.epoch + at + at * self.ppm / 1_000_000
    }

    /// The answer to a request sent at `asked`, stamped `there` and here `back` later.
    fn answer(self, asked: Duration, there: Duration, back: Duration) -> Answer {
        let second = self.time(asked + there).div_euclid(SECOND);
        Answer { asked, answered: asked + there + back, second: i64::try_from(second).unwrap() }
    }
}

/// How far the estimate is ahead of the server.
fn ahead(estimate: &Estimate, server: Server, now: Duration) -> i128 {
    estimate.nanoseconds(now).unwrap() - server.time(now)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Learns `count` answers, one every 1.37 s, each 10 ms under way; returns when the last came.
fn settle(estimate: &mut Estimate, server: Server, from: Duration, count: u32) -> Duration {
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
fn before_the_first_answer_no_time_is_known() {
    let estimate = Estimate::default();
    assert_eq!(estimate.at(ms(5)), None);
    assert_eq!(estimate.age(ms(5)), None);
}

#[test]
fn it_gets_below_the_second_that_a_date_is_cut_to() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, Server::exact(), ms(0), 50);
    let ahead = ahead(&estimate, Server::exact(), now);
    assert!((-SECOND / 10..=0).contains(&ahead), "{ahead} ns ahead");
}

#[test]
fn a_slow_answer_makes_nothing_worse() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, Server::exact(), ms(0), 50);
    let before = ahead(&estimate, Server::exact(), now);
    for (there, back) in [(ms(0), ms(9000)), (ms(9000), ms(0))] {
        let answer = Server::exact().answer(now, there, back);
        assert_eq!(estimate.learn(answer), Learned::Refined);
        let after = ahead(&estimate, Server::exact(), answer.answered);
        assert!((before - SECOND / 50..=0).contains(&after), "moved by {} ns", after - before);
    }
}

#[test]
fn an_old_anchor_shows_its_age() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, Server::exact(), ms(0), 1);
    assert_eq!(estimate.age(now + ms(61_000)), Some(ms(61_000)));
    settle(&mut estimate, Server::exact(), now + ms(60_000), 1);
    assert!(estimate.age(now + ms(61_500)).unwrap() < ms(1000));
}

#[test]
fn answers_that_contradict_do_not_renew_the_anchor() {
    let mut estimate = Estimate::default();
    let now = settle(&mut estimate, Server::exact(), ms(0), 5);
    settle(&mut estimate, Server { epoch: EPOCH + 60 * SECOND, ppm: 0 }, now, 2);
    assert!(estimate.age(now + ms(4000)).unwrap() >= ms(4000));
}

#[test]
fn a_step_of_the_servers_clock_is_followed_within_three_answers() {
    for by in [-86_400, -600, -30, -3, 3, 30, 600, 86_400] {
        let mut estimate = Estimate::default();
        let now = settle(&mut estimate, Server::exact(), ms(0), 20);
        let stepped = Server { epoch: EPOCH + by * SECOND, ppm: 0 };
        let now = settle(&mut estimate, stepped, now, 3);
        let ahead = ahead(&estimate, stepped, now);
        assert!((-SECOND..=0).contains(&ahead), "step of {by} s: {ahead} ns ahead");
    }
}

#[test]
fn a_stray_answer_of_another_server_is_not_believed() {
    let mut estimate = Estimate::default();
    let mut now = settle(&mut estimate, Server::exact(), ms(0), 20);
    for _ in 0..10 {
        now = settle(&mut estimate, Server { epoch: EPOCH + 5 * SECOND, ppm: 0 }, now, 2);
        now = settle(&mut estimate, Server::exact(), now, 1);
        let ahead = ahead(&estimate, Server::exact(), now);
        assert!((-SECOND..=0).contains(&ahead), "{ahead} ns ahead");
    }
}

#[test]
fn a_clock_that_only_runs_faster_or_slower_is_followed_without_a_step() {
    for ppm in [-900, 900] {
        let server = Server { epoch: EPOCH, ppm };
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

/// One answer of a random history: the pause before it, its way there and back.
fn leg() -> impl Strategy<Value = (u64, u64, u64)> {
    let way = || prop_oneof![4 => 0..50_u64, 1 => 0..9000_u64];
    (0..8000_u64, way(), way())
}

proptest! {
    /// Nothing but answers and the monotonic clock goes in, so that the wall clock
    /// cannot matter; where it stands is drawn all the same, as the server's epoch.
    #[test]
    fn the_time_told_is_within_a_second_and_the_latency(
        epoch in 0..EPOCH * 2,
        ppm in -400..400_i128,
        legs in prop::collection::vec(leg(), 1..60),
        idle in 0..60_000_u64,
    ) {
        let server = Server { epoch, ppm };
        let mut estimate = Estimate::default();
        let mut now = Duration::ZERO;
        let mut told = i128::MIN;
        for (pause, there, back) in legs {
            let asked = now + ms(pause);
            let answer = server.answer(asked, ms(there), ms(back));
            // Also between the answers it never runs backwards.
            for at in [asked, answer.answered] {
                let time = estimate.nanoseconds(at).unwrap_or(told);
                prop_assert!(time >= told);
                told = time;
            }
            let agrees = matches!(estimate.learn(answer), Learned::Anchored | Learned::Refined);
            prop_assert!(agrees);
            now = answer.answered;
            let latency = nanoseconds(ms(there + back));
            let ahead = ahead(&estimate, server, now);
            prop_assert!(ahead <= 0, "{ahead} ns ahead");
            prop_assert!(-ahead <= SECOND + latency + latency / 500, "{ahead} ns ahead");
            told = estimate.nanoseconds(now).unwrap();
        }
        let before = ahead(&estimate, server, now);
        let after = ahead(&estimate, server, now + ms(idle));
        prop_assert!((after - before).abs() <= nanoseconds(ms(idle)) * 2 / DRIFT);
    }

    /// However the server's clock is set: whenever an answer agrees, the time told is
    /// right for it, and it runs backwards only for a step of a second or more.
    #[test]
    fn an_agreeing_answer_vouches_for_the_time_told(
        legs in prop::collection::vec((leg(), prop_oneof![3 => Just(0_i128), 1 => -5000..5000_i128]), 1..60),
    ) {
        let mut server = Server::exact();
        let mut estimate = Estimate::default();
        let mut now = Duration::ZERO;
        for ((pause, there, back), step) in legs {
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
            // Held back by an earlier step, it may be a second ahead for a second.
            let held = estimate.floor.is_some_and(|floor| floor == after);
            if matches!(learned, Learned::Anchored | Learned::Refined) && !held {
                let latency = nanoseconds(ms(there + back));
                let error = ahead(&estimate, server, now).abs();
                prop_assert!(error <= SECOND + latency + latency / 500, "{error} ns off");
            }
        }
    }

    #[test]
    fn no_answer_whatever_it_says_is_a_way_to_panic(
        answers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<i64>()), 1..20),
    ) {
        let mut estimate = Estimate::default();
        for (asked, answered, second) in answers {
            estimate.learn(Answer { asked: Duration::from_secs(asked), answered: Duration::from_secs(answered), second });
            let _ = estimate.at(Duration::from_secs(answered));
        }
    }
}

#[test]
fn two_leaders_whose_own_clocks_are_ten_minutes_apart_agree_on_the_time() {
    // Whoever takes over ten minutes ahead would skip `for` and slide every window. Of a
    // process's own clock nothing goes in but how much of it has passed: one has been up
    // for a second when it first hears of the server, the other for ten minutes and one.
    let ten_minutes = Duration::from_mins(10);
    let server = Server::exact();
    let behind = Server { epoch: server.epoch - nanoseconds(ten_minutes), ..server };
    let (mut first, mut second) = (Estimate::default(), Estimate::default());
    let now = settle(&mut first, server, ms(1000), 20);
    let later = settle(&mut second, behind, ms(1000) + ten_minutes, 20);
    assert_eq!(later, now + ten_minutes, "the same instant");
    let apart = first.nanoseconds(now).unwrap() - second.nanoseconds(later).unwrap();
    assert!(apart.abs() <= SECOND / 10, "{apart} ns apart");
}
