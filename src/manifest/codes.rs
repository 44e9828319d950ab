//! Every diagnostic code of manifests, with what it means.
//!
//! Says nothing about where a code is raised; docs/diagnostics.md lists the same table for users.

use crate::diagnostic::Code;

macro_rules! codes {
    ($($name:ident = $number:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: Code = Code($number);)*

        /// All of them, ascending, with their meaning.
        pub const ALL: &[(Code, &str)] = &[$((Code($number), $meaning)),*];
    };
}

codes! {
    // 0001-0099: the text itself.
    NOT_UTF8 = 1, "the file is not UTF-8 text";
    CONTROL_CHARACTER = 2, "the text has a character that YAML and JSON do not allow, such as NUL";
    INVALID_YAML = 3, "the text is not valid YAML";
    INVALID_JSON = 4, "the text is not valid JSON";
    DUPLICATE_KEY = 5, "a mapping has the same key twice";
    TOO_DEEP = 6, "the document nests too deeply";
    TOO_LARGE = 7, "the document has too many nodes once its aliases are expanded";
    SELF_ALIAS = 8, "an alias stands inside the node it refers to";
    KEY_NOT_TEXT = 9, "a key is not text";
    UNSUPPORTED_TAG = 10, "a YAML tag that has no meaning here";
    BAD_MERGE = 11, "the value of a merge key `<<` is not a mapping";
    OLD_BOOL_KEY = 12, "a key that Kubernetes would read as a boolean, such as `on`";

    // 0100-0199: the structure of a document.
    NOT_A_RESOURCE = 100, "the document is not a mapping";
    MISSING_FIELD = 101, "a required field is missing";
    UNKNOWN_FIELD = 102, "the kind has no such field";
    WRONG_TYPE = 103, "a value has the wrong type";
    UNKNOWN_VALUE = 104, "a value is not among those the field allows";
    UNKNOWN_KIND = 105, "the group has no such kind";
    UNKNOWN_VERSION = 106, "the group has no such version";
    BAD_IP_BLOCK = 107, "not an IP address or CIDR range";
    BAD_PORT = 108, "not a port number";
    BAD_CONDITION_KEY = 109, "not a key that `when` conditions know";
    BAD_DURATION = 110, "not a duration";
    BAD_NAME = 111, "not a valid name of a resource or namespace";
    BAD_TIMESTAMP = 112, "not an RFC 3339 time";
    WRONG_GROUP = 113, "a kind of Istio or Kyma under another group";
    DUPLICATE_RESOURCE = 114, "the same kind, namespace and name twice";

    // 0200-0299: what Istio's webhook and CRD schemas demand of a whole resource.
    TWO_ATTACHMENTS = 200, "more than one of `selector`, `targetRef`, `targetRefs`";
    BAD_LABEL = 201, "a label that a selector cannot have";
    BAD_TARGET_REF = 202, "a target reference with a malformed group, kind, name or namespace";
    TARGET_REF_KIND = 203, "a target reference to a kind that policies cannot attach to";
    TOO_MANY = 204, "a list or map with more entries than allowed";
    EMPTY_VALUE = 205, "an empty string where a value is needed";
    NO_RULES = 206, "an action that never happens, because there are no rules";
    BAD_PROVIDER = 207, "`provider` missing for CUSTOM, or present for another action";
    CUSTOM_UNSUPPORTED = 208, "a match that CUSTOM policies cannot use";
    EMPTY_MATCH = 209, "an empty `from`, `to`, `source` or `operation`, which would match everything";
    BAD_SERVICE_ACCOUNT = 210, "not `serviceAccount` or `namespace/serviceAccount`";
    SERVICE_ACCOUNT_CONFLICT = 211, "`serviceAccounts` together with `principals` or `namespaces`";
    BAD_TRUST_DOMAIN = 212, "not a trust domain pattern";
    BAD_PATH_TEMPLATE = 213, "not a valid path template";
    NO_VALUES = 214, "a condition with neither `values` nor `notValues`";
    BAD_DRY_RUN = 215, "the annotation `istio.io/dry-run` where or as it cannot be";
    RESERVED_ANNOTATION = 216, "an annotation that only Istio itself may set";
    BAD_ISSUER = 217, "`issuer` is empty, or neither it nor `jwksUri` is set";
    BAD_JWKS_URI = 218, "not a usable URL of a key set";
    BAD_JWKS = 219, "`jwks` is not a JSON Web Key Set";
    TWO_KEY_SOURCES = 220, "more than one of `jwks` and `jwksUri`";
    BAD_HEADER_NAME = 221, "not a usable header name";
    BAD_TIMEOUT = 222, "a timeout that is too short or too finely divided";
    PRESENCE_REQUIRED = 223, "`presence: REQUIRED`, which is not enforced";
    BAD_PORT_LEVEL_MTLS = 224, "`portLevelMtls` without entries or without selector labels";

    // 0250-0299: what Kyma's CRD and controller demand of an APIRule, and what cannot be carried on.
    BAD_HOST = 250, "not a host that an APIRule can have";
    HOST_OCCUPIED = 251, "a host that an older APIRule has";
    NO_ACCESS_RULES = 252, "an APIRule without rules";
    DUPLICATE_ACCESS_RULE = 253, "two rules of an APIRule for the same path and method";
    NO_SERVICE = 254, "a rule of an APIRule without a Service";
    NO_ACCESS_STRATEGIES = 255, "a rule of an APIRule that does not say who may call";
    UNKNOWN_HANDLER = 256, "no access strategy or mutator has that name";
    HANDLER_CONFIG = 257, "the config of an access strategy that has none";
    STRATEGY_COMBINATION = 258, "access strategies that cannot stand beside each other";
    JWT_FORM = 259, "a `jwt` access strategy in the form of the other handler";
    BAD_JWT_ACCESS = 260, "authentications or authorizations that Kyma would refuse";
    BAD_ACCESS_PATH = 261, "not a path that a rule of an APIRule can have";
    UNSUPPORTED_REGEX = 262, "a regular expression that linear time cannot evaluate";
    BAD_MUTATOR = 263, "a mutator that Kyma or Envoy would refuse";
    UNSUPPORTED_HANDLER = 264, "an access strategy or mutator of Oathkeeper that Postern does not carry on";
    BAD_GATEWAY = 265, "not a name of a gateway";
    UNKNOWN_PROVIDER = 266, "an authorizer that is no extension provider of the mesh";
    OUT_OF_RANGE = 267, "a number that the field does not allow";
    BAD_URL = 268, "not a URL that can be asked";
    SERVICE_WITHOUT_SELECTOR = 269, "a Service without selector labels behind a rule with `jwt`";

    // 0300-0399: accepted, and worth a look.
    SELECTOR_WITHOUT_LABELS = 300, "a selector without labels selects every workload";
    DENY_HTTP_ONLY = 301, "a DENY rule of HTTP attributes only denies all plain TCP traffic";
    HOST_BITS = 302, "a CIDR range with bits set after its prefix";
    PRIVATE_KEY = 303, "`jwks` holds private or symmetric key material";
    NULL_FIELD = 304, "a field that is null counts as absent";
    DUPLICATE_HEADER = 305, "two claims are written to the same header";
    BAD_DENY_ANNOTATION = 306, "an annotation `postern.dev/deny-...` that is not used, where or as it is";
    FROM_PARAMETERS = 307, "`fromParameters` for `fromParams`, as Kyma's documentation had it";
    DEPRECATED_VERSION = 308, "a version of APIRule that Kyma has deprecated";
    IGNORED_KINDS = 390, "documents of other groups are ignored";

    // 0400-0499: the request file of `check`.
    NOT_ONE_REQUEST = 400, "a request file with no request, or with several";
    REQUEST_CONFLICT = 401, "fields of a request that contradict each other";
}
