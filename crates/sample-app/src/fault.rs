//! The faults that can be asked for, and how a request becomes an order for one.
//!
//! Pure: nothing here simulates anything.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parameters::{Parameters, Refusal};
use crate::quantity::{Percentage, Size, Span};

/// The name of a fault, as in `POST /simulate/{fault}`. At most one fault of
/// each kind is simulated at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    MemoryLeak,
    Cpu,
    Errors,
    Latency,
    Crash,
    NotReady,
    Deadlock,
    Gauge,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::MemoryLeak,
        Self::Cpu,
        Self::Errors,
        Self::Latency,
        Self::Crash,
        Self::NotReady,
        Self::Deadlock,
        Self::Gauge,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MemoryLeak => "memory-leak",
            Self::Cpu => "cpu",
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Crash => "crash",
            Self::NotReady => "not-ready",
            Self::Deadlock => "deadlock",
            Self::Gauge => "gauge",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(())
    }
}

/// A fault with its parameters. In JSON and in the state file a map with the
/// name under `fault` and the parameters as they are written in a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Memory grows by `rate` a second up to `ceiling`, and stays until reset.
    MemoryLeak { rate: Size, ceiling: Size },
    /// `threads` threads each use `percentage` of a core.
    Cpu { percentage: Percentage, threads: u8 },
    /// `percentage` of the requests to `/` is answered 500.
    Errors { percentage: Percentage },
    /// `percentage` of the requests to `/` is answered `delay` later.
    Latency { delay: Span, percentage: Percentage },
    /// The process exits with `code`, `delay` after it was asked or, when
    /// sticky, after each start.
    Crash { code: u8, delay: Span },
    /// `/readyz` answers 503.
    NotReady,
    /// Requests to `/` and `/healthz` get no answer, while the process lives.
    Deadlock,
    /// The gauge in the metrics has this value; 0 without.
    Gauge { value: f64 },
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::MemoryLeak { .. } => Kind::MemoryLeak,
            Self::Cpu { .. } => Kind::Cpu,
            Self::Errors { .. } => Kind::Errors,
            Self::Latency { .. } => Kind::Latency,
            Self::Crash { .. } => Kind::Crash,
            Self::NotReady => Kind::NotReady,
            Self::Deadlock => Kind::Deadlock,
            Self::Gauge { .. } => Kind::Gauge,
        }
    }

    fn read(kind: Kind, from: &mut Parameters) -> Result<Self, Refusal> {
        Ok(match kind {
            Kind::MemoryLeak => Self::MemoryLeak {
                rate: from.quantity("rate")?.unwrap_or(Size::mebibytes(10)),
                ceiling: from.quantity("ceiling")?.unwrap_or(Size::mebibytes(1024)),
            },
            Kind::Cpu => Self::Cpu { percentage: percentage(from)?, threads: threads(from)? },
            Kind::Errors => Self::Errors { percentage: percentage(from)? },
            Kind::Latency => Self::Latency {
                delay: from.quantity("delay")?.unwrap_or(Span::milliseconds(1000)),
                percentage: percentage(from)?,
            },
            Kind::Crash => Self::Crash { code: code(from)?, delay: from.quantity("delay")?.unwrap_or(Span::ZERO) },
            Kind::NotReady => Self::NotReady,
            Kind::Deadlock => Self::Deadlock,
            Kind::Gauge => Self::Gauge { value: value(from)? },
        })
    }
}

fn percentage(from: &mut Parameters) -> Result<Percentage, Refusal> {
    Ok(from.quantity("percentage")?.unwrap_or(Percentage::ALL))
}

fn threads(from: &mut Parameters) -> Result<u8, Refusal> {
    let read = |text: &str| text.parse().ok().filter(|threads| (1..=64).contains(threads));
    Ok(from.other("threads", "write a whole number from 1 to 64", read)?.unwrap_or(1))
}

fn code(from: &mut Parameters) -> Result<u8, Refusal> {
    let read = |text: &str| text.parse().ok();
    Ok(from.other("code", "write an exit code from 0 to 255", read)?.unwrap_or(1))
}

fn value(from: &mut Parameters) -> Result<f64, Refusal> {
    let read = |text: &str| text.parse().ok().filter(|value: &f64| value.is_finite());
    let value = from.other("value", "write a number, such as 42 or 0.5", read)?;
    value.ok_or(Refusal::Missing { name: "value", mend: "add it, such as ?value=42" })
}

/// A fault as it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    #[serde(flatten)]
    pub(crate) fault: Fault,
    /// How long it is simulated, counted from when it was asked and not from
    /// the latest restart; until reset when absent. A memory leak stops
    /// growing then and keeps what it has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) duration: Option<Span>,
    /// Whether it outlives the process.
    pub(crate) sticky: bool,
}

impl Order {
    /// Reads the query of `POST /simulate/{kind}`.
    pub(crate) fn read(kind: Kind, mut from: Parameters) -> Result<Self, Refusal> {
        let fault = Fault::read(kind, &mut from)?;
        let duration: Option<Span> = from.quantity("duration")?;
        let sticky = from.other("sticky", "write true or false", |text| text.parse().ok())?;
        from.finish()?;
        if duration.is_some_and(Span::is_zero) {
            let mend = "leave it out for a fault without end, or POST /simulate/reset to end one";
            return Err(Refusal::Malformed { name: "duration", given: "0s".to_owned(), mend });
        }
        Ok(Self { fault, duration, sticky: sticky.unwrap_or(false) })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.fault.kind().name())?;
        match &self.fault {
            Fault::MemoryLeak { rate, ceiling } => write!(formatter, " rate={rate} ceiling={ceiling}")?,
            Fault::Cpu { percentage, threads } => {
                write!(formatter, " percentage={percentage} threads={threads}")?;
            }
            Fault::Errors { percentage } => write!(formatter, " percentage={percentage}")?,
            Fault::Latency { delay, percentage } => {
                write!(formatter, " delay={delay} percentage={percentage}")?;
            }
            Fault::Crash { code, delay } => write!(formatter, " code={code} delay={delay}")?,
            Fault::NotReady | Fault::Deadlock => {}
            Fault::Gauge { value } => write!(formatter, " value={value}")?,
        }
        if let Some(duration) = self.duration {
            write!(formatter, " duration={duration}")?;
        }
        if self.sticky { formatter.write_str(" sticky=true") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, query: &[(&str, &str)]) -> Result<Order, Refusal> {
        let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Order::read(kind.parse().unwrap(), Parameters::read(pairs.collect())?)
    }

    #[test]
    fn every_kind_reads_its_parameters_and_has_defaults() {
        let check = |kind: &str, query: &[(&str, &str)], expect: &str| {
            assert_eq!(read(kind, query).unwrap().to_string(), expect);
        };
        check("memory-leak", &[], "memory-leak rate=10Mi ceiling=1Gi");
        check("memory-leak", &[("rate", "1Mi"), ("ceiling", "64Mi")], "memory-leak rate=1Mi ceiling=64Mi");
        check("cpu", &[("threads", "2")], "cpu percentage=100 threads=2");
        check("errors", &[("percentage", "12.5%"), ("duration", "90s")], "errors percentage=12.5 duration=1m30s");
        check("latency", &[("delay", "300ms")], "latency delay=300ms percentage=100");
        check("crash", &[("code", "137"), ("sticky", "true")], "crash code=137 delay=0s sticky=true");
        check("not-ready", &[("sticky", "false")], "not-ready");
        check("deadlock", &[("duration", "5s")], "deadlock duration=5s");
        check("gauge", &[("value", "-0.5")], "gauge value=-0.5");
    }

    #[test]
    fn a_refusal_tells_the_mend() {
        let check = |kind: &str, query: &[(&str, &str)], mend: &str| {
            let refusal = read(kind, query).unwrap_err().to_string();
            assert!(refusal.contains(mend), "{refusal}");
        };
        check("errors", &[("percent", "5")], "unknown parameter \"percent\"; known here: percentage, duration, sticky");
        check("errors", &[("percentage", "5"), ("percentage", "6")], "more than once; give it once");
        check("memory-leak", &[("rate", "10mb")], "rate=10mb is not understood; write a size");
        check("crash", &[("code", "256")], "write an exit code from 0 to 255");
        check("cpu", &[("threads", "0")], "from 1 to 64");
        check("gauge", &[], "add it, such as ?value=42");
        check("gauge", &[("value", "inf")], "write a number");
        check("deadlock", &[("duration", "0s")], "POST /simulate/reset");
        check("not-ready", &[("sticky", "yes")], "write true or false");
    }

    #[test]
    fn an_order_survives_the_state_file() {
        for kind in Kind::ALL {
            let query: &[(&str, &str)] = if kind == Kind::Gauge { &[("value", "0.25")] } else { &[] };
            let order = Order { duration: Some("1m30s".parse().unwrap()), ..read(kind.name(), query).unwrap() };
            let json = serde_json::to_value(&order).unwrap();
            assert_eq!(json["fault"], kind.name());
            assert_eq!(serde_json::from_value::<Order>(json).unwrap(), order);
        }
    }
}
