//! Texts that other programs draw.

use std::fmt::Write as _;

use super::{Drawing, Link, Node};

pub(super) fn mermaid(drawing: &Drawing) -> String {
    let mut out = "flowchart LR\n".to_owned();
    let quoted = |text: &str| text.replace('"', "#quot;");
    for (at, node) in drawing.nodes.iter().enumerate().filter(|(_, node)| !node.is_final) {
        let _ = writeln!(out, "  t{at}[\"{}\"]", quoted(&label(node, "<br>")));
    }
    if drawing.nodes.iter().any(|node| node.is_final) {
        out += "  subgraph finally\n";
        for (at, node) in drawing.nodes.iter().enumerate().filter(|(_, node)| node.is_final) {
            let _ = writeln!(out, "    t{at}[\"{}\"]", quoted(&label(node, "<br>")));
        }
        out += "  end\n";
    }
    for link in &drawing.links {
        let arrow = if drawing.nodes[link.to].is_final { "-.->" } else { "-->" };
        let results = match results(link) {
            results if results.is_empty() => String::new(),
            results => format!("|\"{}\"|", quoted(&results)),
        };
        let _ = writeln!(out, "  t{} {arrow}{results} t{}", link.from, link.to);
    }
    out
}

pub(super) fn dot(drawing: &Drawing) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = "digraph pipeline {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n".to_owned();
    let declared = |node: &Node| {
        let name = quoted(&node.name);
        let marks = quoted(&label(node, "\n")).replace('\n', "\\n");
        if node.marks.is_empty() { format!("{name};\n") } else { format!("{name} [label={marks}];\n") }
    };
    for node in drawing.nodes.iter().filter(|node| !node.is_final) {
        out += &format!("  {}", declared(node));
    }
    if drawing.nodes.iter().any(|node| node.is_final) {
        out += "  subgraph cluster_finally {\n    label=finally;\n";
        for node in drawing.nodes.iter().filter(|node| node.is_final) {
            out += &format!("    {}", declared(node));
        }
        out += "  }\n";
    }
    for link in &drawing.links {
        let mut attributes = Vec::new();
        if !link.results.is_empty() {
            attributes.push(format!("label={}", quoted(&results(link))));
        }
        if drawing.nodes[link.to].is_final {
            attributes.push("style=dashed".to_owned());
        }
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        let (from, to) = (&drawing.nodes[link.from].name, &drawing.nodes[link.to].name);
        let _ = writeln!(out, "  {} -> {}{attributes};", quoted(from), quoted(to));
    }
    out + "}\n"
}

pub(super) fn label(node: &Node, between: &str) -> String {
    if node.marks.is_empty() {
        node.name.clone()
    } else {
        format!("{}{between}({})", node.name, node.marks.join(", "))
    }
}

fn results(link: &Link) -> String {
    link.results.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
