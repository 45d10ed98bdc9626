//! What Airbyte holds of a connection's settings, as a spec says it.

use serde_json::{Value, json};

use super::schedule::from_airbyte;
use crate::spec::schedule::period_text;
use crate::spec::{Schedule, escaped, escaped_value};

/// Where a spec says a setting, and what; without a value nothing is to stand there. `None`: no spec says it.
pub(super) fn spelled(setting: &str, value: &Value) -> Option<(Vec<String>, Option<Value>)> {
    let at = |path: &[&str]| path.iter().map(|part| (*part).to_owned()).collect();
    Some(match setting {
        "schedule" => {
            let schedule = from_airbyte(value["scheduleType"].as_str(), &value["scheduleData"]).ok()?;
            (at(&["schedule"]), Some(written(&schedule)))
        }
        "namespace" => {
            let placeholder = "${SOURCE_NAMESPACE}";
            let namespace = match value["namespaceDefinition"].as_str()? {
                "customformat" => value["namespaceFormat"].as_str()?,
                word => word,
            };
            let parts: Vec<String> = namespace.split(placeholder).map(escaped).collect();
            (at(&["airbyte", "namespace"]), Some(json!(parts.join(placeholder))))
        }
        "prefix" => {
            let prefix = Some(value.as_str()?).filter(|prefix| !prefix.is_empty());
            (at(&["airbyte", "prefix"]), prefix.map(|prefix| json!(escaped(prefix))))
        }
        // git alone decides it while the connection is managed
        "nonBreakingChangesPreference" => return None,
        other => (at(&["airbyte", "passthrough", other]), Some(escaped_value(value)).filter(|value| !value.is_null())),
    })
}

fn written(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::Manual => json!("manual"),
        Schedule::Every(period) => json!({"every": period_text(*period)}),
        Schedule::Cron { expression, timezone } | Schedule::Quartz { expression, timezone } => {
            json!({"quartz": expression, "timezone": timezone.name()})
        }
    }
}
