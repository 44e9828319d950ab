//! placeholder
use crate::model::JwtError;
/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm;
impl Algorithm {
    /// x
    pub fn from_name(_n: &str) -> Option<Self> {
        None
    }
}
/// x
#[derive(Debug, Default)]
pub struct KeySet;
impl KeySet {
    /// x
    pub fn parse(_t: &str) -> Result<Self, ()> {
        Ok(Self)
    }
    /// x
    pub fn unavailable() -> Self {
        Self
    }
    /// x
    pub fn verify(&self, _a: Algorithm, _k: &str, _i: &[u8], _s: &[u8]) -> Result<(), JwtError> {
        Err(JwtError::VerificationFails)
    }
}
