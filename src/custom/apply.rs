//! What allowances do to a request, as Envoy's filter does it before those behind it see the request.
//!
//! One after the other, in the order of the providers; what is told to Envoy then is `extauthz`'s job.

use std::borrow::Cow;
use std::sync::Arc;

use super::answer::{Allowance, AppendAction, HeaderMutation};
use super::consult::Consulted;
use crate::authn::{Changes, query_with};
use crate::model::{Http, header_text};

impl Consulted {
    /// Changes the request as those want it that let it through, and notes what was changed.
    pub fn apply(&mut self, http: &mut Http<'_>, changes: &mut Changes) {
        let mut pseudo_headers = std::mem::take(&mut self.pseudo_headers);
        for allowance in self.allowances() {
            let mut target = Target { http, changes, pseudo_headers: &mut pseudo_headers };
            target.change(allowance);
        }
        self.pseudo_headers = pseudo_headers;
    }
}

struct Target<'t, 'a> {
    http: &'t mut Http<'a>,
    changes: &'t mut Changes,
    pseudo_headers: &'t mut Vec<&'static str>,
}

impl Target<'_, '_> {
    fn change(&mut self, allowance: &Allowance) {
        for mutation in &allowance.headers {
            self.header(mutation);
        }
        for name in &allowance.headers_to_remove {
            // Envoy does not take out what a request cannot be without.
            let is_removable = !name.starts_with(':') && name != "host";
            if is_removable && self.http.headers.remove(name) {
                self.changes.note_header(&Arc::from(name.as_str()));
            }
        }
        let (set, remove) =
            (&allowance.query_parameters_to_set, &allowance.query_parameters_to_remove);
        if !set.is_empty() || !remove.is_empty() {
            self.http.path = Cow::Owned(query_with(&self.http.path, set, remove));
            self.changes.path = true;
        }
    }

    fn header(&mut self, HeaderMutation { name, value, action }: &HeaderMutation) {
        if let Some(pseudo) = pseudo(name) {
            self.pseudo(pseudo, value, *action);
            return;
        }
        if name.starts_with(':') {
            return;
        }
        let headers = &mut self.http.headers;
        let joined = {
            let lines: Vec<_> = headers.values(name).map(header_text).collect();
            (!lines.is_empty()).then(|| lines.join(","))
        };
        let new = match (action, joined) {
            (AppendAction::Join, None) | (AppendAction::OverwriteIfExists, None) => return,
            (AppendAction::AddIfAbsent, Some(_)) => return,
            (AppendAction::Add, _) => value.clone(),
            (AppendAction::Join, Some(joined)) => {
                headers.remove(name);
                format!("{joined},{value}")
            }
            (AppendAction::AddIfAbsent, None) => value.clone(),
            (AppendAction::Overwrite | AppendAction::OverwriteIfExists, _) => {
                headers.remove(name);
                value.clone()
            }
        };
        headers.append(Cow::Owned(name.clone()), Cow::Owned(new.into_bytes()));
        self.changes.note_header(&Arc::from(name.as_str()));
    }

    fn pseudo(&mut self, name: &'static str, value: &str, action: AppendAction) {
        let http = &mut self.http;
        let place = match name {
            ":path" => &mut http.path,
            ":method" => &mut http.method,
            ":scheme" => &mut http.scheme,
            _ => &mut http.host,
        };
        let new = match action {
            AppendAction::AddIfAbsent => return,
            AppendAction::Add | AppendAction::Join => format!("{place},{value}"),
            AppendAction::Overwrite | AppendAction::OverwriteIfExists => value.to_owned(),
        };
        *place = Cow::Owned(new);
        if name == ":path" {
            self.changes.path = true;
        } else if !self.pseudo_headers.contains(&name) {
            self.pseudo_headers.push(name);
        }
    }
}

/// The pseudo header of a name; `host` is the older name of one.
fn pseudo(name: &str) -> Option<&'static str> {
    match name {
        ":path" => Some(":path"),
        ":method" => Some(":method"),
        ":scheme" => Some(":scheme"),
        ":authority" | "host" => Some(":authority"),
        _ => None,
    }
}
