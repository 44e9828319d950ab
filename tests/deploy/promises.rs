//! What the manifests promise, whatever shape and values they were made with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// The objects of one installation.
pub(crate) struct Installation {
    pub(crate) objects: Vec<Value>,
    /// ConfigMaps and Secrets that the user has made.
    pub(crate) given: Vec<&'static str>,
}

/// A pod and where it is.
pub(crate) struct Pod<'o> {
    pub(crate) labels: &'o Value,
    pub(crate) spec: &'o Value,
    pub(crate) claims: Vec<&'o str>,
}

impl Installation {
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn pod(&self) -> Pod<'_> {
        let workloads: Vec<_> =
            ["Deployment", "StatefulSet"].iter().flat_map(|kind| self.of_kind(kind)).collect();
        let [workload] = workloads.as_slice() else { panic!("{} workloads", workloads.len()) };
        let template = &workload["spec"]["template"];
        assert_subset(
            &workload["spec"]["selector"]["matchLabels"],
            &template["metadata"]["labels"],
        );
        let claims = each(&workload["spec"]["volumeClaimTemplates"]);
        Pod {
            labels: &template["metadata"]["labels"],
            spec: &template["spec"],
            claims: claims.iter().map(|claim| text(&claim["metadata"]["name"])).collect(),
        }
    }

    /// All of it.
    pub(crate) fn keeps_its_promises(&self) {
        let pod = self.pod();
        pod.is_restricted();
        pod.mounts_what_there_is();
        self.postern_is_set_up(&pod);
        self.names_lead_somewhere(&pod);
        self.holds_no_secrets(&pod);
        self.asks_for_few_rights(&pod);
    }

    fn postern_is_set_up(&self, pod: &Pod<'_>) {
        let postern = pod.postern();
        assert_eq!(postern["resources"]["requests"], json!({ "cpu": "50m", "memory": "32Mi" }));
        assert_eq!(postern["securityContext"]["runAsUser"], 65532);
        for (probe, path) in [
            ("startupProbe", "/readyz"),
            ("readinessProbe", "/readyz"),
            ("livenessProbe", "/livez"),
        ] {
            assert_eq!(postern[probe]["httpGet"], json!({ "path": path, "port": "probes" }));
        }
        // What shows policies and changes the log level stays where only this pod is.
        assert!(!pod.arguments().iter().any(|argument| argument.starts_with("--admin")));
        assert_eq!(pod.argument("--probes").unwrap().rsplit(':').next(), Some("8283"));
        assert_eq!(pod.port("probes"), Some(8283));
        let token = pod.spec["automountServiceAccountToken"].as_bool();
        assert_eq!(token, Some(pod.arguments().contains(&"--kube")));
    }

    fn names_lead_somewhere(&self, pod: &Pod<'_>) {
        for service in self.of_kind("Service") {
            assert_subset(&service["spec"]["selector"], pod.labels);
            for port in each(&service["spec"]["ports"]) {
                let target = text(&port["targetPort"]);
                assert!(pod.port(target).is_some(), "no port `{target}`");
            }
        }
        for budget in self.of_kind("PodDisruptionBudget") {
            assert_subset(&budget["spec"]["selector"]["matchLabels"], pod.labels);
        }
        let mut policies = 0;
        for policy in self.of_kind("NetworkPolicy") {
            policies += 1;
            assert_subset(&policy["spec"]["podSelector"]["matchLabels"], pod.labels);
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
            for rule in each(&policy["spec"]["ingress"]) {
                for port in each(&rule["ports"]) {
                    let port = port["port"].as_i64().unwrap();
                    assert!(pod.ports().values().any(|known| *known == port), "no port {port}");
                    // Everybody may ask Envoy, and nobody else.
                    let envoy = pod.port("http") == Some(port);
                    assert_eq!(each(&rule["from"]).is_empty(), envoy, "{rule}");
                }
            }
        }
        assert_eq!(policies, 1);
        for monitor in self.of_kind("ServiceMonitor") {
            let wanted = &monitor["spec"]["selector"]["matchLabels"];
            let found: Vec<_> = self
                .of_kind("Service")
                .filter(|s| subset(wanted, &s["metadata"]["labels"]))
                .collect();
            let [service] = found.as_slice() else { panic!("{} services", found.len()) };
            assert_eq!(
                service["spec"]["ports"][0]["name"],
                monitor["spec"]["endpoints"][0]["port"]
            );
        }
        for volume in each(&pod.spec["volumes"]) {
            if let Some(name) = volume["configMap"]["name"].as_str() {
                let rendered = self.of_kind("ConfigMap").any(|map| map["metadata"]["name"] == name);
                assert!(rendered || self.given.contains(&name), "no ConfigMap `{name}`");
            }
        }
        if let Some(account) = pod.spec["serviceAccountName"].as_str() {
            let found = self.of_kind("ServiceAccount").find(|a| a["metadata"]["name"] == account);
            assert_eq!(found.unwrap()["automountServiceAccountToken"], false);
        }
    }

    fn holds_no_secrets(&self, pod: &Pod<'_>) {
        assert_eq!(self.of_kind("Secret").count(), 0);
        for container in pod.containers() {
            for variable in each(&container["env"]) {
                assert!(variable["valueFrom"]["secretKeyRef"].is_null(), "{variable}");
            }
        }
        for volume in each(&pod.spec["volumes"]) {
            if let Some(name) = volume["secret"]["secretName"].as_str() {
                assert!(self.given.contains(&name), "nobody asked for the Secret `{name}`");
                assert_eq!(volume["secret"]["defaultMode"], 0o440);
            }
        }
    }

    fn asks_for_few_rights(&self, pod: &Pod<'_>) {
        const KINDS: [&str; 3] =
            ["authorizationpolicies", "peerauthentications", "requestauthentications"];
        let status = KINDS.map(|kind| format!("{kind}/status"));
        let allowed = [
            json!({ "apiGroups": ["security.istio.io"], "resources": KINDS, "verbs": ["get", "list", "watch"] }),
            json!({ "apiGroups": ["security.istio.io"], "resources": status, "verbs": ["patch"] }),
            json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "patch", "update"] }),
        ];
        let of_pods = json!({ "apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"] });
        let of_routes = json!({ "apiGroups": ["networking.istio.io"], "resources": ["virtualservices"], "verbs": ["get", "list", "patch"] });
        let has_kube = pod.arguments().contains(&"--kube");
        let reads_routes = has_kube && pod.argument("--management").is_some();
        let reads_pods = pod.argument("--kube-workloads") == Some("true");
        let roles: Vec<_> =
            ["Role", "ClusterRole"].iter().flat_map(|kind| self.of_kind(kind)).collect();
        for role in &roles {
            for rule in each(&role["rules"]) {
                assert!(
                    allowed.contains(rule)
                        || reads_pods && *rule == of_pods
                        || reads_routes && *rule == of_routes,
                    "{rule}"
                );
            }
        }
        let rules = || roles.iter().flat_map(|role| each(&role["rules"]));
        assert_eq!(rules().any(|rule| *rule == of_pods), reads_pods);
        assert_eq!(rules().any(|rule| *rule == of_routes), reads_routes);
        let bindings: Vec<_> =
            ["RoleBinding", "ClusterRoleBinding"].iter().flat_map(|k| self.of_kind(k)).collect();
        assert_eq!(roles.len(), bindings.len());
        for binding in bindings {
            let role = &binding["roleRef"];
            assert!(
                roles.iter().any(|found| found["kind"] == role["kind"]
                    && found["metadata"]["name"] == role["name"]
                    && found["metadata"]["namespace"] == binding["metadata"]["namespace"]),
                "{binding}"
            );
            let subject = &binding["subjects"][0];
            assert_eq!(subject["name"], pod.spec["serviceAccountName"]);
        }
        // Whoever needs nothing from the API server has no rights there.
        assert_eq!(!roles.is_empty(), has_kube);
    }
}

impl<'o> Pod<'o> {
    pub(crate) fn containers(&self) -> impl Iterator<Item = &'o Value> {
        each(&self.spec["initContainers"]).iter().chain(each(&self.spec["containers"]))
    }

    pub(crate) fn container(&self, name: &str) -> &'o Value {
        self.containers().find(|container| container["name"] == name).expect(name)
    }

    pub(crate) fn postern(&self) -> &'o Value {
        self.container("postern")
    }

    /// Those of Postern.
    pub(crate) fn arguments(&self) -> Vec<&'o str> {
        each(&self.postern()["args"]).iter().map(text).collect()
    }

    /// The value of one of them.
    pub(crate) fn argument(&self, flag: &str) -> Option<&'o str> {
        let arguments = self.arguments();
        arguments.into_iter().find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='))
    }

    pub(crate) fn port(&self, name: &str) -> Option<i64> {
        self.ports().get(name).copied()
    }

    fn ports(&self) -> BTreeMap<&'o str, i64> {
        let ports = self.containers().flat_map(|container| each(&container["ports"]));
        ports.map(|port| (text(&port["name"]), port["containerPort"].as_i64().unwrap())).collect()
    }

    /// The volume that a container has at a path.
    pub(crate) fn volume_at(&self, container: &str, path: &str) -> &'o Value {
        let mounts = each(&self.container(container)["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["mountPath"] == path).expect(path);
        let volumes = each(&self.spec["volumes"]);
        volumes.iter().find(|volume| volume["name"] == mount["name"]).expect(path)
    }

    /// Kubernetes' "restricted" standard and a little more, for every container.
    fn is_restricted(&self) {
        let spec = self.spec;
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(spec["enableServiceLinks"], false);
        for host in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(spec[host].is_null(), "{host}");
        }
        for container in self.containers() {
            let name = text(&container["name"]);
            let context = &container["securityContext"];
            assert_eq!(context["runAsNonRoot"], true, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["privileged"], false, "{name}");
            assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            let user =
                context["runAsUser"].as_i64().or(spec["securityContext"]["runAsUser"].as_i64());
            assert!(user.is_some_and(|user| user > 0), "{name}");
            let resources = &container["resources"];
            for asked in [&resources["requests"]["cpu"], &resources["requests"]["memory"]] {
                assert!(asked.is_string(), "{name}");
            }
            assert!(resources["limits"]["memory"].is_string(), "{name}");
            let (_, tag) = text(&container["image"]).rsplit_once(':').expect("a tag");
            assert_ne!(tag, "latest", "{name}");
        }
    }

    /// Each mount has its volume and each volume is mounted; little of it can be written to.
    fn mounts_what_there_is(&self) {
        let mut mounted = BTreeSet::new();
        for container in self.containers() {
            for mount in each(&container["volumeMounts"]) {
                let name = text(&mount["name"]);
                mounted.insert(name);
                let writable = mount["readOnly"] != true;
                let own =
                    container["name"] == "postern" && ["postern-socket", "store"].contains(&name);
                assert_eq!(writable, own, "{}: {mount}", container["name"]);
            }
        }
        let volumes = each(&self.spec["volumes"]).iter().map(|volume| text(&volume["name"]));
        let there: BTreeSet<_> = volumes.chain(self.claims.iter().copied()).collect();
        assert_eq!(mounted, there);
        for volume in each(&self.spec["volumes"]) {
            assert!(volume["hostPath"].is_null(), "{volume}");
        }
    }
}

pub(crate) fn each(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn subset(wanted: &Value, labels: &Value) -> bool {
    let wanted = wanted.as_object().expect("labels");
    assert!(!wanted.is_empty(), "selects everything");
    wanted.iter().all(|(name, value)| labels[name] == *value)
}

fn assert_subset(wanted: &Value, labels: &Value) {
    assert!(subset(wanted, labels), "{wanted} does not select {labels}");
}
