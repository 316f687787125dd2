//! Runs on many devices, one at a time on each.

/// A run: its seconds, and the number of the group that it belongs to and of the one that must be done before it.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Seconds.
    pub seconds: f64,
    /// Its group.
    pub group: usize,
    /// The group that it starts from.
    pub after: Option<usize>,
}

/// When the last run ends, in seconds: the longest run that may begin is the next one on the device that is free first.
pub fn end(jobs: &[Job], devices: usize) -> f64 {
    let mut free = vec![0.0_f64; devices.max(1)];
    let mut done = vec![0.0_f64; jobs.iter().map(|job| job.group + 1).max().unwrap_or(0)];
    let mut order: Vec<&Job> = jobs.iter().collect();
    order.sort_by(|a, b| {
        (a.after.is_some(), b.seconds)
            .partial_cmp(&(b.after.is_some(), a.seconds))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    for job in order {
        let ready = job.after.and_then(|group| done.get(group).copied()).unwrap_or(0.0);
        let Some(first) = free.iter_mut().min_by(|a, b| a.total_cmp(b)) else {
            break;
        };
        *first = first.max(ready) + job.seconds;
        done[job.group] = done[job.group].max(*first);
    }
    free.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_come_first_and_dependent_ones_wait() {
        let job = |seconds, group, after| Job { seconds, group, after };
        let free = [
            job(1.0, 0, None),
            job(2.0, 0, None),
            job(4.0, 1, None),
            job(3.0, 1, None),
        ];
        assert_eq!((end(&free, 1), end(&free, 2), end(&free, 9)), (10.0, 5.0, 4.0));
        let waiting = [job(1.0, 0, Some(1)), job(4.0, 1, None)];
        assert_eq!((end(&waiting, 1), end(&waiting, 5)), (5.0, 5.0));
        assert_eq!(end(&[], 3), 0.0);
    }
}
