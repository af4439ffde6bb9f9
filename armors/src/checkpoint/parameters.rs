//! What an application's manager starts a CHECKPOINT ARMOR with.

use serde::{Deserialize, Serialize};

/// The parameters of a CHECKPOINT ARMOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The directory of its files, below `apps` in that of the environment.
    pub home: String,
    /// How often it looks for a new image, in nanoseconds.
    pub every_ns: u64,
}

/// A text is not a CHECKPOINT ARMOR's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of a CHECKPOINT ARMOR: {0}")]
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
    /// [`ParametersError`]: where, and what is wrong; a directory that is not below `apps`.
    pub fn from_toml(text: &str) -> Result<Self, ParametersError> {
        let parameters: Self =
            toml::from_str(text).map_err(|error| ParametersError(error.to_string()))?;
        match crate::common::below(&parameters.home) {
            true => Ok(parameters),
            false => Err(ParametersError(format!("'{}' is not below apps", parameters.home))),
        }
    }
}
