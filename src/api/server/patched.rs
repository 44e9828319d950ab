//! JSON patches from within the process, held to all that a caller's patch is held to.
//!
//! Who may ask for one is for those who do to know.

use super::super::access::{Roles, StaticTokens};
use super::super::patch::PatchType;
use super::super::query::{FieldValidation, WriteOptions};
use super::super::status::ApiError;
use super::Settings;
use super::moment::Moment;
use super::route::Route;
use super::writes::Writer;
use crate::authn::clock::Clock;
use crate::store::Store;

/// Why an object is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchRefused {
    /// There is none.
    #[error("there is no such object")]
    NotFound,
    /// A `test` failed, or something it changes is not there.
    #[error("it has changed meanwhile")]
    Conflict,
    /// What it would become may not be stored.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error("the store cannot be written")]
    Failed,
}

/// Patches the object of a path such as
/// `/apis/networking.istio.io/v1/namespaces/shop/virtualservices/reviews`, and gives what it became.
/// May wait for the disk.
pub fn patch_object(
    store: &Store,
    path: &str,
    patch: &[u8],
    manager: &str,
    clock: Clock,
) -> Result<serde_json::Value, PatchRefused> {
    let Route::Resource(resource) = Route::of(path) else { return Err(PatchRefused::NotFound) };
    // Only what is there is patched, so none of these is looked at.
    let settings = Settings {
        roles: Roles::default(),
        tokens: StaticTokens::default(),
        jwt: None,
        create_namespaces: false,
        permanent_namespaces: Vec::new(),
        most_watches: 0,
        open: false,
    };
    let options =
        WriteOptions { field_validation: FieldValidation::Strict, ..WriteOptions::default() };
    let writer = Writer {
        store,
        settings: &settings,
        resource: &resource,
        options: &options,
        manager,
        now: &Moment::now(clock),
    };
    match writer.patch(PatchType::Json, patch) {
        Ok(written) => Ok(written.object),
        Err(error) if error == ApiError::unprocessable_patch() => Err(PatchRefused::Conflict),
        Err(error) => Err(match error.code() {
            404 => PatchRefused::NotFound,
            409 => PatchRefused::Conflict,
            500 => PatchRefused::Failed,
            _ => PatchRefused::Invalid(error.to_string()),
        }),
    }
}
