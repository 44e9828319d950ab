//! What token rules are, in one number that is the same in every process.
//!
//! Tells rules apart that treat tokens differently; nothing relies on it being hard to forge.

use crate::model::JwtRule;

/// Of rules in the order they are tried; 0 without any.
pub(super) fn of(rules: &[&JwtRule]) -> u64 {
    if rules.is_empty() {
        return 0;
    }
    let mut hash = Fnv::default();
    for rule in rules {
        let JwtRule {
            issuer,
            audiences,
            jwks,
            jwks_uri,
            from_headers,
            from_params,
            from_cookies,
            output_payload_to_header,
            output_claim_to_headers,
            forward_original_token,
            // How long a fetch may take and where the rule stands change nothing for a token.
            timeout: _,
            space_delimited_claims,
            position: _,
        } = rule;
        hash.text(issuer);
        hash.texts(audiences);
        hash.texts(jwks.as_slice());
        hash.texts(jwks_uri.as_slice());
        hash.count(from_headers.len());
        for header in from_headers {
            hash.text(&header.name);
            hash.text(&header.prefix);
        }
        hash.texts(from_params);
        hash.texts(from_cookies);
        hash.texts(output_payload_to_header.as_slice());
        hash.count(output_claim_to_headers.len());
        for output in output_claim_to_headers {
            hash.text(&output.header);
            hash.text(&output.claim);
        }
        hash.count(usize::from(*forward_original_token));
        hash.texts(space_delimited_claims);
    }
    hash.0
}

/// FNV-1a with 64 bits.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// So that what follows cannot be taken for what came before.
    fn count(&mut self, count: usize) {
        self.bytes(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::model::Resource;

    fn fingerprint(spec: &str) -> u64 {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
             metadata: {{name: a}}\nspec: {{jwtRules: [{spec}]}}\n"
        );
        let decoded = manifest::decode(&text, None, &manifest::Options::default());
        let Some(Resource::RequestAuthentication(policy)) = decoded.accepted().next() else {
            panic!("{:?}", decoded.diagnostics)
        };
        of(&policy.jwt_rules.iter().collect::<Vec<_>>())
    }

    #[test]
    fn it_never_changes() {
        assert_eq!(of(&[]), 0);
        // Records outlive versions: a new figure here makes replay unable to tell.
        assert_eq!(fingerprint("{issuer: a}"), 0x2238_219d_e8cc_027f);
    }

    #[test]
    fn rules_that_differ_are_told_apart() {
        let rules = [
            "",
            "{issuer: a}",
            "{issuer: b}",
            "{issuer: a}, {issuer: b}",
            "{issuer: a, audiences: [x]}",
            "{issuer: a, audiences: [x, z]}",
            "{issuer: a, audiences: [xz]}",
            "{issuer: a, jwksUri: 'https://a.example/k'}",
            "{issuer: a, fromHeaders: [{name: x}]}",
            "{issuer: a, fromHeaders: [{name: x, prefix: z}]}",
            "{issuer: a, fromParams: [x]}",
            "{issuer: a, fromCookies: [x]}",
            "{issuer: a, outputPayloadToHeader: x}",
            "{issuer: a, outputClaimToHeaders: [{header: x, claim: z}]}",
            "{issuer: a, forwardOriginalToken: true}",
            "{issuer: a, spaceDelimitedClaims: [x]}",
        ];
        let mut found: Vec<_> = rules.iter().map(|rule| fingerprint(rule)).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), rules.len());
        assert_eq!(fingerprint("{issuer: a}"), fingerprint("\n  {issuer: a, timeout: 9s}"));
    }
}
