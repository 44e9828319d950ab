//! Kyma's `APIRule`: its fields, in whichever version they are written.
//!
//! What Kyma's controller would refuse is for `admission`.

use super::{
    cursor::{At, Fields, located},
    problem::Report,
};
use crate::model::{ApiRule, ApiRuleVersion, Metadata};

pub(crate) fn decode(
    metadata: Metadata,
    spec: Option<&At<'_>>,
    report: &mut Report<'_>,
) -> ApiRule {
    let version = ApiRuleVersion::V1beta1;
    let mut resource = ApiRule { metadata, version, hosts: Vec::new(), rules: Vec::new() };
    if let Some(spec) = spec {
        let mut fields = Fields::open(spec, report);
        let host = fields.required("host");
        resource.hosts.extend(host.and_then(|at| located(&at, fields.report)));
    }
    resource
}
