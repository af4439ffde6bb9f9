//! What an application's manager starts an EXECUTION ARMOR with.

use serde::{Deserialize, Serialize};

/// The parameters of an EXECUTION ARMOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The directory of its files, below `apps` in that of the environment.
    pub home: String,
    /// The user that it and its program are to be, if not the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A text is not an EXECUTION ARMOR's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameters of an EXECUTION ARMOR: {0}")]
pub struct ParametersError(String);

impl Parameters {
    /// As TOML.
    ///
    /// # Errors
    /// None is known to be possible.
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
