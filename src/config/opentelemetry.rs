//! What the `OTEL_*` variables say: whether anything is exported, and what no exporter could do.
//!
//! The exporters read these variables themselves, and where one is wrong go on without it; here it is
//! an error before a port is bound.

use super::{Environment, Reader};

/// What is known of an export before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtlpExport {
    /// Whether it is by gRPC over TLS.
    pub tls: bool,
}

/// How spans are exported: where an endpoint or the exporter is named.
pub(super) fn traces(read: &mut Reader<'_>, environment: &Environment) -> Option<OtlpExport> {
    let variable = |name: &str| environment.variable(name);
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let has_endpoint = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| environment.has(name));
    let traces = match variable("OTEL_TRACES_EXPORTER").as_deref() {
        Some("otlp") => true,
        Some("none") => false,
        Some(other) => {
            let problem = format!("`{other}` is not `otlp` or `none`");
            read.problems.add("OTEL_TRACES_EXPORTER", problem);
            false
        }
        None => has_endpoint,
    };
    if traces {
        if cfg!(not(feature = "otlp")) {
            read.problems.add(
                "OTEL_TRACES_EXPORTER",
                "this Postern was built without it (feature `otlp`): set it to `none`",
            );
        }
        sampler(read, environment);
    }
    traces.then(|| exporter(read, environment, "TRACES"))
}

/// The exporter of one signal; adds what is wrong with it.
pub(super) fn exporter(
    read: &mut Reader<'_>,
    environment: &Environment,
    signal: &str,
) -> OtlpExport {
    let variable = |what: &str| {
        let names =
            [format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| environment.variable(&name).map(|value| (name, value)))
    };
    let protocol = variable("PROTOCOL");
    let is_http = match &protocol {
        None => true,
        Some((_, protocol)) if protocol == "http/protobuf" => true,
        Some((_, protocol)) if protocol == "grpc" => false,
        Some((name, protocol)) => {
            let problem = format!("`{protocol}` is not `grpc` or `http/protobuf`");
            read.problems.add(name, problem);
            false
        }
    };
    let mut tls = false;
    if let Some((name, endpoint)) = variable("ENDPOINT") {
        // An endpoint may have a password in it: it is not repeated.
        let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http") => {}
            Some("https") if !is_http => tls = true,
            Some("https") => read.problems.add(
                name,
                "TLS is spoken with gRPC only: set OTEL_EXPORTER_OTLP_PROTOCOL to `grpc`",
            ),
            Some(_) | None => {
                read.problems.add(name, "not a URL, such as `http://127.0.0.1:4317`");
            }
        }
    }
    if let Some((name, timeout)) = variable("TIMEOUT")
        && timeout.parse::<u64>().is_err()
    {
        read.problems.add(name, format!("`{timeout}` is not a number of milliseconds"));
    }
    OtlpExport { tls }
}

fn sampler(read: &mut Reader<'_>, environment: &Environment) {
    const SAMPLERS: [&str; 6] = [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];
    let Some(sampler) = environment.variable("OTEL_TRACES_SAMPLER") else { return };
    if !SAMPLERS.contains(&sampler.as_str()) {
        let problem = format!("`{sampler}` is not one of `{}`", SAMPLERS.join("`, `"));
        read.problems.add("OTEL_TRACES_SAMPLER", problem);
    } else if sampler.ends_with("traceidratio") {
        let ratio = environment.variable("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
        let number: Option<f64> = ratio.parse().ok();
        if !number.is_some_and(|number| (0.0..=1.0).contains(&number)) {
            let problem = format!("`{ratio}` is not a number from 0 to 1");
            read.problems.add("OTEL_TRACES_SAMPLER_ARG", problem);
        }
    }
}
