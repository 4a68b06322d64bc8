//! Query parameters, read strictly: what is unknown, repeated or malformed is
//! refused with what to write instead. A typo that was silently dropped would
//! make a test wait for a fault that is not the one it asked for.

use std::collections::BTreeMap;

use crate::quantity::Malformed;

/// The parameters of one request, taken out one by one.
pub(crate) struct Parameters {
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

/// Why parameters were refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("unknown parameter {name:?}; known here: {known}")]
    Unknown { name: String, known: String },
    #[error("parameter {0:?} is given more than once; give it once")]
    Repeated(String),
    #[error("{name}={given} is not understood; {mend}")]
    Malformed { name: &'static str, given: String, mend: &'static str },
    #[error("{name} is missing; {mend}")]
    Missing { name: &'static str, mend: &'static str },
}

impl Parameters {
    pub(crate) fn read(pairs: Vec<(String, String)>) -> Result<Self, Refusal> {
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            if given.contains_key(&name) {
                return Err(Refusal::Repeated(name));
            }
            given.insert(name, value);
        }
        Ok(Self { given, known: Vec::new() })
    }

    /// A parameter that is a quantity.
    pub(crate) fn quantity<T>(&mut self, name: &'static str) -> Result<Option<T>, Refusal>
    where
        T: std::str::FromStr<Err = Malformed>,
    {
        self.known.push(name);
        let Some(given) = self.given.remove(name) else { return Ok(None) };
        match given.parse() {
            Ok(value) => Ok(Some(value)),
            Err(Malformed(mend)) => Err(Refusal::Malformed { name, given, mend }),
        }
    }

    /// Any other parameter: `parse` reads it, `mend` says what it should be.
    pub(crate) fn other<T>(
        &mut self,
        name: &'static str,
        mend: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.known.push(name);
        let Some(given) = self.given.remove(name) else { return Ok(None) };
        parse(&given).map(Some).ok_or(Refusal::Malformed { name, given, mend })
    }

    /// To be called last: refuses what nobody took.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        let Some((name, _)) = self.given.pop_first() else { return Ok(()) };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(Refusal::Unknown { name, known })
    }
}
