//! What `chameleon doctor` says about an environment: this node's file, certificate and clock, the daemon,
//! and what the environment would not survive.
//!
//! Invariant: changes nothing; says nothing where there is no environment and none is meant. Called by
//! `doctor`.

use std::time::Duration;

use chameleon_netd::identity::Identity;

use super::asking::Environment;
use super::init::now;
use super::node_file::NodeFile;
use super::place::{self, Place};
use super::status;
use super::when::stamp;
use crate::cli::{Directory, Where};
use crate::doctor::Finding;

/// How long an FTM is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is found.
pub fn findings(args: &Where) -> Vec<Finding> {
    let said = args.dir.is_some() || args.socket.is_some();
    let place = Place::of(&Directory { dir: args.dir.clone() }).ok();
    let place = place.filter(|place| place.node_file().exists());
    let socket = place::socket(args).ok().filter(|socket| said || socket.exists());
    if place.is_none() && socket.is_none() && !said {
        return Vec::new();
    }
    let mut all = Vec::new();
    if let Some(place) = &place {
        all.extend(node(place));
    }
    all.extend(environment(args));
    all
}

/// The node's own files.
fn node(place: &Place) -> Vec<Finding> {
    let file = NodeFile::load(place);
    let identity = Identity::load(&place.identity());
    let mut all = vec![Finding {
        what: "node.toml",
        good: file.is_ok(),
        note: false,
        found: file
            .map_or_else(|error| format!("{error:#}"), |file| format!("a node of {}", file.name)),
        advice: "docs/environment.md says what is in it",
    }];
    let now = now();
    let (good, found) = match &identity {
        Err(error) => (false, error.to_string()),
        Ok(identity) => {
            let facts = identity.facts();
            let second =
                |at: i64| stamp(u64::try_from(at).unwrap_or(0).saturating_mul(1_000_000_000));
            let good = (facts.not_before..facts.not_after).contains(&now);
            let until = second(facts.not_after);
            let by = second(now);
            (good, format!("node {}, good until {until}; the clock says {by} (UTC)", facts.node.0))
        }
    };
    all.push(Finding {
        what: "certificate and clock",
        good,
        note: false,
        found,
        advice: "a daemon that runs renews its certificate; set the clock (chrony, systemd-timesyncd) if it is \
                 wrong, or else enroll anew with a token",
    });
    all
}

/// The daemon and the FTM.
fn environment(args: &Where) -> Vec<Finding> {
    let advice = "start it with `chameleon daemon`, or systemctl start chameleon-daemon";
    let mut environment = match Environment::of(args) {
        Ok(environment) => environment.patient(PATIENCE),
        Err(error) => {
            let found = format!("{error:#}");
            return vec![Finding { what: "daemon", good: false, note: false, found, advice }];
        }
    };
    let found = format!("answers on node {}", environment.node());
    let mut all = vec![Finding { what: "daemon", good: true, note: false, found, advice }];
    match status::ask(&mut environment) {
        Ok(status) => {
            let found = status::summary(&chameleon_proto::ask::Status {
                warnings: Vec::new(),
                ..status.clone()
            });
            all.push(Finding { what: "FTM", good: true, note: false, found, advice: "" });
            let mut warnings = status.warnings;
            let alone = status.backup.as_ref().is_none_or(|backup| backup.node == status.ftm.node);
            if alone && !warnings.iter().any(|warning| warning.contains("host")) {
                warnings.push(format!(
                    "FTM and Backup FTM are on one host (node {}): its loss is not survived",
                    status.ftm.node
                ));
            }
            for found in warnings {
                all.push(Finding { what: "environment", good: true, note: true, found, advice: "" });
            }
        }
        Err(error) => all.push(Finding {
            what: "FTM",
            good: false,
            note: false,
            found: format!("{error:#}"),
            advice: "on the environment's first node start it with `chameleon ftm`, or the daemon without --no-ftm",
        }),
    }
    all
}
