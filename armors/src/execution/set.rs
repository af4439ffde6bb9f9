//! Changing the settings of a run that is under way, over its socket.
//!
//! Invariant: the ARMOR does not wait: it is asked aside. Used by the EXECUTION ARMOR.

use std::collections::BTreeMap;
use std::time::Duration;

use chameleon_policy::checkpoint::Cadence;
use chameleon_policy::duration;
use chameleon_policy::mode::Mode;
use chameleon_supervisor::runs::{self, Living, Reply, Request};

use crate::common::aside::Aside;
use crate::context::Context;

/// How long a run has to change: each of its processes does at its next call.
const PATIENCE: Duration = Duration::from_secs(8);

/// A change that is under way.
pub(super) struct Setting {
    number: u64,
    aside: Aside<Option<String>>,
}

impl Setting {
    /// Asks the run of this process.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub fn begin(
        context: &Context,
        number: u64,
        pid: u32,
        values: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let request = request(values)?;
        let run = runs::list().into_iter().find(|run| run.info.pid == pid);
        let run = run.ok_or("its run does not answer yet; try again")?;
        let aside = Aside::begin(context, "set", move || ask(&run, request))?;
        Ok(Self { number, aside })
    }

    /// The answer, once there is one: the order's number, and why it was refused.
    pub fn answer(&self) -> Option<(u64, Option<String>)> {
        self.aside.done().map(|refusal| (self.number, refusal))
    }
}

/// What a run is asked for.
fn request(values: &BTreeMap<String, String>) -> Result<Request, String> {
    let (mut mode, mut timeout_ns, mut checkpoint) = (None, None, None);
    for (name, value) in values {
        match name.as_str() {
            "mode" => {
                let parsed: Mode = value.parse().map_err(|error| format!("{error}"))?;
                mode = Some(parsed.to_string());
            }
            "timeout" => {
                let parsed = duration::parse(value).map_err(|error| error.to_string())?;
                timeout_ns = Some(u64::try_from(parsed.as_nanos()).unwrap_or(u64::MAX));
            }
            "checkpoint" => {
                let parsed: Cadence = value.parse().map_err(|error| format!("{error}"))?;
                checkpoint = Some(parsed.to_string());
            }
            other => {
                return Err(format!(
                    "an application has no '{other}'; it has mode, timeout and checkpoint"
                ));
            }
        }
    }
    Ok(Request::Set { mode, timeout_ns, checkpoint })
}

/// Why it was refused, if it was.
fn ask(run: &Living, request: Request) -> Option<String> {
    match runs::ask(run, request, PATIENCE) {
        Ok(Reply::Set { .. }) => None,
        Ok(Reply::Refused { why }) => Some(why),
        Ok(_) => Some("its run answers what is not understood".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[(&str, &str)]) -> Result<Request, String> {
        request(&values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn what_an_application_has_is_asked_for_and_nothing_else() {
        let both = asked(&[("mode", "tmr"), ("timeout", "2s")]).unwrap();
        let mut wanted = Request::Set {
            mode: Some("tmr".into()),
            timeout_ns: Some(2_000_000_000),
            checkpoint: None,
        };
        assert_eq!(both, wanted);
        wanted =
            Request::Set { mode: None, timeout_ns: None, checkpoint: Some("2s,100calls".into()) };
        assert_eq!(asked(&[("checkpoint", "2s, 100 calls")]).unwrap(), wanted);
        for (name, value) in [("mode", "six"), ("timeout", "x"), ("checkpoint", "soon"), ("a", "b")]
        {
            assert!(asked(&[(name, value)]).is_err(), "{name}");
        }
    }
}
