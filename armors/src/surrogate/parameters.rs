//! What the FTM starts an application's Surrogate Manager with.
//!
//! Invariant: all that was decided when the application was handed in is in here, so that each life of
//! its manager begins with the same. Written by the FTM, read by the SURROGATE.

use std::collections::BTreeMap;

use chameleon_policy::plan::{Form, Plan};
use chameleon_policy::spec::Specification;
use chameleon_proto::ids::{AppId, ArmorId, ArmorType, Incarnation, NodeId};
use chameleon_proto::message::env::NodeInfo;
use serde::{Deserialize, Serialize};

/// The parameters of a SURROGATE ARMOR.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The application's number.
    pub app: u32,
    /// Its name.
    pub name: String,
    /// What was handed in: TOML.
    pub specification: String,
    /// Where it was handed in: an absolute path; relative ones begin there.
    pub directory: String,
    /// The strategy's name.
    pub strategy: String,
    /// Its mode, as people write it.
    pub mode: String,
    /// How the replicas stand to each other.
    #[serde(with = "form")]
    pub form: Form,
    /// Bytes of memory that one Execution ARMOR's program needs of a node.
    pub memory: u64,
    /// CPU time that it takes, in hundredths of a processor.
    pub cpu: u64,
    /// The nodes, as in the plan.
    pub nodes: Vec<u32>,
    /// The voting timeout, in nanoseconds.
    pub timeout_ns: u64,
    /// When it was handed in: nanoseconds since 1970 (UTC).
    pub submitted_ns: u64,
    /// The FTM's backup, if there is one: type, number, life.
    pub backup: Option<(u16, u32, u32)>,
    /// Options of `chameleon run` for each Execution ARMOR: name without dashes, value.
    pub options: BTreeMap<String, String>,
    /// What the FTM's tables say of the application's ARMORs: nothing for its first manager; from a next
    /// life of that it is what goes on meanwhile.
    #[serde(default)]
    pub known: Vec<Known>,
    /// All nodes that the FTM knows now.
    pub candidates: Vec<NodeInfo>,
}

/// An ARMOR of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its type.
    pub kind: u16,
    /// Its number.
    pub number: u32,
    /// Which life of it.
    pub life: u32,
    /// Where it is.
    pub node: u32,
}

impl Known {
    /// An ARMOR on a node.
    pub const fn new(armor: ArmorId, node: NodeId) -> Self {
        let ArmorId { kind, number, incarnation } = armor;
        Self { kind: kind.0, number, life: incarnation.0, node: node.0 }
    }

    /// Its name.
    pub const fn armor(&self) -> ArmorId {
        let incarnation = Incarnation(self.life);
        ArmorId { kind: ArmorType(self.kind), number: self.number, incarnation }
    }
}

/// Why a text is not a SURROGATE's parameters, or parameters cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of a Surrogate Manager: {0}")]
pub struct ParametersError(String);

impl Parameters {
    /// Of an application that is planned so.
    pub fn new(
        (app, plan): (AppId, &Plan),
        (specification, text): (&Specification, &str),
        directory: &str,
        submitted_ns: u64,
        backup: Option<ArmorId>,
        candidates: &[NodeInfo],
    ) -> Self {
        let ask = plan.ask(specification);
        Self {
            app: app.0,
            name: plan.app.clone(),
            specification: text.to_owned(),
            directory: specification.app.directory.as_deref().unwrap_or(directory).to_owned(),
            strategy: plan.strategy.name.clone(),
            mode: plan.strategy.mode.to_string(),
            form: plan.form,
            memory: ask.memory,
            cpu: ask.cpu,
            nodes: plan.nodes.iter().map(|choice| choice.node.0).collect(),
            timeout_ns: u64::try_from(plan.timeout.as_nanos()).unwrap_or(u64::MAX),
            submitted_ns,
            backup: backup.map(|armor| (armor.kind.0, armor.number, armor.incarnation.0)),
            options: plan.options.clone(),
            known: Vec::new(),
            candidates: candidates.to_vec(),
        }
    }

    /// As TOML.
    ///
    /// # Errors
    /// [`ParametersError`] for a number that TOML does not have.
    pub fn to_toml(&self) -> Result<String, ParametersError> {
        toml::to_string(self).map_err(|error| ParametersError(error.to_string()))
    }

    /// From TOML.
    ///
    /// # Errors
    /// [`ParametersError`]: where, and what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, ParametersError> {
        toml::from_str(text).map_err(|error| ParametersError(error.to_string()))
    }

    /// The application.
    pub const fn id(&self) -> AppId {
        AppId(self.app)
    }

    /// The nodes.
    pub fn places(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| NodeId(*node)).collect()
    }

    /// The backup.
    pub fn backup(&self) -> Option<ArmorId> {
        self.backup.map(|(kind, number, life)| ArmorId {
            kind: ArmorType(kind),
            number,
            incarnation: Incarnation(life),
        })
    }
}

mod form {
    use chameleon_policy::plan::Form;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    const WORDS: [(&str, Form); 3] =
        [("together", Form::Together), ("linked", Form::Linked), ("apart", Form::Apart)];

    pub(super) fn serialize<S: Serializer>(form: &Form, serializer: S) -> Result<S::Ok, S::Error> {
        let word = WORDS.iter().find(|(_, known)| known == form).map_or("", |(word, _)| word);
        serializer.serialize_str(word)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Form, D::Error> {
        let text = String::deserialize(from)?;
        let known = WORDS.iter().find(|(word, _)| *word == text).map(|(_, form)| *form);
        known.ok_or_else(|| D::Error::custom(format!("there is no form '{text}'")))
    }
}

#[cfg(test)]
mod tests {
    use chameleon_proto::ids::armors;
    use chameleon_proto::message::env::Health;

    use super::*;

    fn parameters() -> Parameters {
        let health = Health { memory: 1 << 40, memory_errors: Some(3), ..Health::default() };
        let node = NodeInfo {
            node: NodeId(2),
            name: "two".into(),
            address: "10.0.0.2:7000".into(),
            os: "Linux".into(),
            kernel: "6.18".into(),
            cpu: "a \"quoted\" model".into(),
            features: vec!["avx2".into()],
            health,
        };
        let backup = ArmorId::first(armors::BACKUP_FTM, 1).successor();
        Parameters {
            app: 7,
            name: "matrix".into(),
            specification: "[app]\nname = \"matrix\"\ncommand = ['a', \"b\\n\"]\n".into(),
            directory: "/srv".into(),
            strategy: "tmr".into(),
            mode: "tmr".into(),
            form: Form::Apart,
            memory: 1 << 33,
            cpu: 100,
            nodes: vec![1, 2, 3],
            timeout_ns: 5_000_000_000,
            submitted_ns: 1_700_000_000_000_000_000,
            backup: Some((backup.kind.0, backup.number, backup.incarnation.0)),
            options: [("mode".to_owned(), "simplex".to_owned())].into(),
            known: vec![Known::new(ArmorId::first(armors::VOTER, 7).successor(), NodeId(2))],
            candidates: vec![node.clone(), NodeInfo { node: NodeId(3), ..node }],
        }
    }

    #[test]
    fn they_come_back() {
        let parameters = parameters();
        let text = parameters.to_toml().unwrap();
        assert_eq!(Parameters::from_toml(&text).unwrap(), parameters, "{text}");
        let backup = ArmorId::first(armors::BACKUP_FTM, 1).successor();
        assert_eq!(parameters.backup(), Some(backup));
        let none = Parameters { backup: None, candidates: Vec::new(), ..parameters };
        assert_eq!(Parameters::from_toml(&none.to_toml().unwrap()).unwrap(), none);
    }

    #[test]
    fn what_they_are_not_is_said() {
        let text = parameters().to_toml().unwrap();
        let other = text.replace("\"apart\"", "\"around\"");
        let error = Parameters::from_toml(&other).unwrap_err().to_string();
        assert!(error.contains("there is no form 'around'"), "{error}");
        assert!(Parameters::from_toml("app = 1").is_err());
    }
}
