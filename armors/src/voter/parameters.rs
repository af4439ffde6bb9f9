//! What an application's manager starts its VOTER with.

use serde::{Deserialize, Serialize};

/// The parameters of a VOTER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The vote's number.
    pub round: u64,
    /// Where the results go: the directory that the program natively works in.
    pub directory: String,
    /// The application's specification: TOML.
    pub specification: String,
    /// How many replicas there are and how many must agree, as people write it.
    pub mode: String,
    /// The voting timeout, in nanoseconds.
    pub timeout_ns: u64,
}

/// A text is not a VOTER's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of a VOTER: {0}")]
pub struct ParametersError(String);

impl Parameters {
    /// As TOML.
    ///
    /// # Errors
    /// A number that TOML does not have.
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
}
