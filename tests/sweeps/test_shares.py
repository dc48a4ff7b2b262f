"""What each of several jobs gets."""

import pytest

from cpr_lightning.sweeps.shares import divide, visible_gpus
from cpr_lightning.sweeps.threads import environment


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_cores_are_divided_without_overlap():
    for jobs in (1, 2, 3, 5, 16):
        shares = divide(jobs, None, range(16), [])
        assert [share.threads for share in shares] == [16 // jobs] * jobs
        assert sorted(core for share in shares for core in share.cores) == list(range(16))
        for share in shares:
            assert len(share.cores) in (16 // jobs, 16 // jobs + 1)


def test_cores_need_not_be_counted_from_zero():
    assert [share.cores for share in divide(2, None, (3, 8, 9, 12), [])] == [(3, 8), (9, 12)]


def test_few_threads_leave_the_other_cores_of_the_share_to_loaders():
    (share, _) = divide(2, 1, range(8), [])
    assert (share.threads, share.cores) == (1, (0, 1, 2, 3))


def test_jobs_that_cannot_be_kept_apart_have_no_place():
    assert [(share.threads, share.cores) for share in divide(3, None, range(2), [])] == [(1, ())] * 3
    assert [(share.threads, share.cores) for share in divide(2, 2, range(2), [])] == [(2, ())] * 2


def test_the_environment_may_allow_fewer_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert divide(2, None, range(16), [])[0].threads == 3
    assert divide(2, 8, range(16), [])[0].threads == 8, "what is asked for counts"
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert divide(2, None, range(16), [])[0].threads == 8


@pytest.mark.parametrize(("cores", "gpus", "jobs"), [(1, 0, 2), (2, 0, 2), (16, 0, 4), (16, 3, 3), (2, 8, 8)])
def test_jobs_by_default(cores: int, gpus: int, jobs: int):
    assert len(divide(None, None, range(cores), [str(gpu) for gpu in range(gpus)])) == jobs


def test_gpus_are_dealt_out_in_turn():
    assert [share.gpu for share in divide(5, None, range(8), ["0", "1"])] == ["0", "1", "0", "1", "0"]
    assert [share.gpu for share in divide(2, None, range(8), [])] == [None, None]


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [("2,5", ["2", "5"]), ("", []), ("-1", []), (" GPU-8a, GPU-9b ", ["GPU-8a", "GPU-9b"])],
)
def test_gpus_that_are_hidden_are_not_dealt_out(variable: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == gpus


def test_every_variable_says_the_same():
    assert set(environment(3).values()) == {"3"}
    assert "OMP_NUM_THREADS" in environment(3)
