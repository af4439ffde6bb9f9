//! The SURROGATE MANAGER of one application (paper 4.1.2).

mod parameters;

pub use parameters::{Parameters, ParametersError};
