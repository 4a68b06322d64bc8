//! Functions over a range of samples.

/// The samples of one series in a range that ends at `at`. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) samples: &'a [(i64, f64)],
    pub(super) at: i64,
    pub(super) range: i64,
}

/// The function of this name. It returns `None` if the series has too few samples.
pub(super) fn function(name: &str) -> Option<fn(&Window<'_>) -> Option<f64>> {
    Some(match name {
        "rate" => |window| Some(window.extrapolated(true)? / seconds(window.range)),
        "increase" => |window| window.extrapolated(true),
        "delta" => |window| window.extrapolated(false),
        "irate" => |window| window.irate(),
        "changes" => |window| Some(window.pairs(|before, after| (before.to_bits() != after.to_bits()).into())),
        "resets" => |window| Some(window.pairs(|before, after| (after < before).into())),
        "sum_over_time" => |window| Some(window.values().sum()),
        "count_over_time" => |window| Some(window.count()),
        "avg_over_time" => |window| Some(window.values().sum::<f64>() / window.count()),
        "min_over_time" => |window| window.values().reduce(f64::min),
        "max_over_time" => |window| window.values().reduce(f64::max),
        "last_over_time" => |window| window.values().last(),
        "present_over_time" => |window| window.values().last().map(|_| 1.0),
        _ => return None,
    })
}

impl Window<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|(_, value)| *value)
    }

    fn count(&self) -> f64 {
        self.values().map(|_| 1.0).sum()
    }

    fn pairs(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        self.samples
            .windows(2)
            .map(|pair| if let [(_, before), (_, after)] = pair { of(*before, *after) } else { 0.0 })
            .sum()
    }

    /// The increase over the whole range, as Prometheus extrapolates it: to the edges of the range,
    /// but no further than half an interval between samples if the series seems to start or end
    /// inside, and never to before a counter was zero.
    fn extrapolated(&self, is_counter: bool) -> Option<f64> {
        let [(first_at, first), .., (last_at, last)] = *self.samples else { return None };
        let restarts =
            if is_counter { self.pairs(|before, after| if after < before { before } else { 0.0 }) } else { 0.0 };
        let increase = last - first + restarts;
        let sampled = seconds(last_at - first_at);
        let interval = sampled / (self.count() - 1.0);
        let reaches = |gap: f64| if gap >= interval * 1.1 { interval / 2.0 } else { gap };
        let mut before = reaches(seconds(first_at - (self.at - self.range)));
        if is_counter && increase > 0.0 && first >= 0.0 {
            before = before.min(sampled * (first / increase));
        }
        let after = reaches(seconds(self.at - last_at));
        Some(increase * (sampled + before + after) / sampled)
    }

    /// By the two newest samples.
    fn irate(&self) -> Option<f64> {
        let [.., (before_at, before), (at, value)] = *self.samples else { return None };
        let increase = if value < before { value } else { value - before };
        Some(increase / seconds(at - before_at))
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, samples: &[(i64, f64)], expected: Option<f64>) {
        let samples: Vec<_> = samples.iter().map(|(second, value)| (second * 1000, *value)).collect();
        let window = Window { samples: &samples, at: 120_000, range: 60_000 };
        let value = function(name).unwrap()(&window);
        let equal = match (value, expected) {
            (Some(value), Some(expected)) => (value - expected).abs() < 1e-9,
            (value, expected) => value == expected,
        };
        assert!(equal, "{name}: {value:?}, expected {expected:?}");
    }

    /// The expected values were worked out by hand from the documented algorithm.
    #[test]
    fn rates_are_extrapolated_as_prometheus_does() {
        let steady = [(65, 100.0), (80, 115.0), (95, 130.0), (110, 145.0)];
        check("increase", &steady, Some(60.0));
        check("rate", &steady, Some(1.0));
        check("irate", &steady, Some(1.0));
        // A counter that starts at zero did not count before.
        check("increase", &[(65, 0.0), (80, 15.0)], Some(15.0 * 22.5 / 15.0));
        // A restart of the process.
        check("increase", &[(65, 100.0), (80, 110.0), (95, 5.0), (110, 15.0)], Some(25.0 * 60.0 / 45.0));
        check("increase", &[(65, 100.0)], None);
        check("irate", &[(95, 10.0), (110, 3.0)], Some(0.2));
        check("resets", &[(65, 100.0), (80, 110.0), (95, 5.0)], Some(1.0));
        check("max_over_time", &steady, Some(145.0));
    }
}
