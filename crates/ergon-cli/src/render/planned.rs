//! The pods that a run would have.

use ergon_local::{NotShared, Planned, PlannedPod};
use serde_json::{Value, json};

use super::{Style, Table};

/// For people: one block for each pod, then why the others do not share one.
pub fn planned(plan: &Planned, style: Style) -> String {
    let mut text = String::new();
    for pod in &plan.pods {
        text.push_str(&style.bold(&pod.tasks.join(", ")));
        text.push('\n');
        let mut table = Table::new(&[]).indented(2);
        if !pod.containers.is_empty() {
            table.row(vec!["containers".to_owned(), pod.containers.join(" ")]);
        }
        if !pod.requests.is_empty() {
            let requests: Vec<String> =
                pod.requests.iter().map(|(name, quantity)| format!("{name} {}", quantity.0)).collect();
            table.row(vec!["requests".to_owned(), requests.join(", ")]);
        }
        if !pod.folders.is_empty() {
            table.row(vec!["folders".to_owned(), format!("{} (no claims are made)", pod.folders.join(", "))]);
        }
        if let Some(why) = &pod.why_alone {
            table.row(vec!["alone".to_owned(), why.to_string()]);
        } else if pod.containers.is_empty() {
            table.row(vec!["containers".to_owned(), "not known before it starts".to_owned()]);
        }
        text.push_str(&table.render(style));
        text.push('\n');
    }
    if !plan.not_shared.is_empty() {
        let mut table = Table::new(&["TASK", "AFTER", "WHY NOT IN ONE POD"]);
        for edge in &plan.not_shared {
            let after = edge.after.clone().unwrap_or_else(|| "all".to_owned());
            table.row(vec![edge.task.clone(), after, reason(edge)]);
        }
        text.push_str(&table.render(style));
    }
    text.trim_end().to_owned() + "\n"
}

fn reason(edge: &NotShared) -> String {
    if edge.whose == edge.task { edge.why.to_string() } else { format!("{}: {}", edge.whose, edge.why) }
}

/// For programs.
pub fn planned_json(plan: &Planned) -> Value {
    let pod = |pod: &PlannedPod| {
        json!({
            "tasks": pod.tasks,
            "containers": pod.containers,
            "requests": pod.requests,
            "folders": pod.folders,
            "whyAlone": pod.why_alone.as_ref().map(ToString::to_string),
        })
    };
    let edge = |edge: &NotShared| json!({"task": edge.task, "after": edge.after, "whose": edge.whose, "why": edge.why.to_string()});
    json!({
        "pods": plan.pods.iter().map(pod).collect::<Vec<_>>(),
        "notShared": plan.not_shared.iter().map(edge).collect::<Vec<_>>(),
    })
}
