//! What single patterns match: strings, path templates, peer identities, claims.
//!
//! Total and allocation-free; patterns borrow their text from where it is kept. Which attribute a
//! pattern is held against is `plan`'s and `decide`'s business.

mod identity;
mod path_template;
mod string;
mod value;

pub use identity::{NamespaceMatch, PrincipalMatch, SCHEME, ServiceAccountMatch, TrustDomainMatch};
pub use path_template::PathTemplate;
pub use string::{Star, StringMatch};
pub use value::{MetadataMatch, RequestPrincipalMatch, claim_matches, request_principal};
