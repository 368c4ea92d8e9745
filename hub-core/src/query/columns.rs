//! Names of fields that the hub gives to twins and jobs.

use super::path::{Path, Step};

/// Fields at the root of a twin or of a device's part in a job, in the case they are shown in.
const ROOT: [&str; 28] = [
    "deviceId",
    "moduleId",
    "etag",
    "deviceEtag",
    "status",
    "statusReason",
    "statusUpdateTime",
    "connectionState",
    "lastActivityTime",
    "cloudToDeviceMessageCount",
    "authenticationType",
    "x509Thumbprint",
    "modelId",
    "version",
    "capabilities",
    "deviceScope",
    "parentScopes",
    "tags",
    "properties",
    "configurations",
    "jobId",
    "jobType",
    "startTimeUtc",
    "endTimeUtc",
    "createdDateTimeUtc",
    "lastUpdatedDateTimeUtc",
    "outcome",
    "error",
];

/// Fields below those: of these parents only. What users name is taken as it is.
const BELOW: [(&str, &str); 5] = [
    ("properties", "desired"),
    ("properties", "reported"),
    ("capabilities", "iotEdge"),
    ("x509Thumbprint", "primaryThumbprint"),
    ("x509Thumbprint", "secondaryThumbprint"),
];

/// The path with the hub's own names in their proper case, and without the name of the collection
/// that may stand before it: `devices.jobs.JobID` becomes `jobId`.
pub(super) fn canonical(path: Path) -> Path {
    let is = |step: Option<&Step>, word: &str| matches!(step, Some(Step::Member(name)) if name.eq_ignore_ascii_case(word));
    let steps = path.steps();
    let skipped = match steps {
        [first, second, _, ..] if is(Some(first), "devices") => {
            if is(Some(second), "jobs") || is(Some(second), "modules") { 2 } else { 1 }
        }
        [first, _, ..] if is(Some(first), "devices") => 1,
        _ => 0,
    };
    let mut steps: Vec<Step> = steps.iter().skip(skipped).cloned().collect();
    let root = ROOT.into_iter().find(|name| is(steps.first(), name));
    if let (Some(root), Some(step)) = (root, steps.first_mut()) {
        *step = Step::Member(root.into());
    }
    let below =
        BELOW.into_iter().find(|(parent, name)| root == Some(*parent) && is(steps.get(1), name));
    if let (Some((_, name)), Some(step)) = (below, steps.get_mut(1)) {
        *step = Step::Member(name.into());
    }
    Path::new(steps)
}

/// Whether it is a path to a value in a section of a twin, or to something in it.
pub(super) fn is_twin_value(path: &Path) -> bool {
    let name = |at: usize| match path.steps().get(at) {
        Some(Step::Member(name)) => Some(&**name),
        _ => None,
    };
    match (name(0), name(1)) {
        (Some("tags"), Some(_)) => true,
        (Some("properties"), Some("desired" | "reported")) => name(2).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_get_their_case_and_others_keep_theirs() {
        for (written, want) in [
            ("DEVICEID", "deviceId"),
            ("devices.deviceid", "deviceId"),
            ("devices.jobs.jobid", "jobId"),
            ("Devices.Modules.moduleID", "moduleId"),
            ("Tags.Floor", "tags.Floor"),
            ("PROPERTIES.Desired.Desired", "properties.desired.Desired"),
            ("tags.Desired", "tags.Desired"),
            ("capabilities.IOTEDGE", "capabilities.iotEdge"),
            ("nothing.Known", "nothing.Known"),
            ("devices.jobs", "jobs"),
        ] {
            assert_eq!(canonical(Path::of(written.split('.'))), Path::of(want.split('.')));
        }
    }

    #[test]
    fn twin_values_lie_in_a_section() {
        for (path, want) in [
            ("tags.a", true),
            ("properties.reported.a.b", true),
            ("tags", false),
            ("properties.desired", false),
            ("properties.other.a", false),
            ("deviceId", false),
        ] {
            assert_eq!(is_twin_value(&Path::of(path.split('.'))), want, "{path}");
        }
    }
}
