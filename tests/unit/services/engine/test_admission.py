"""Who takes part in the next step, and that nobody is lost, doubled or starved."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.engine.admission import OVERTAKEN_STEPS_MAX, Admission, Entrant
from services.engine.image_spec import AttemptKey, CompatibilityKey

SMALL = CompatibilityKey(height=256, width=256, max_sequence_length=77, is_guided=True)
LARGE = CompatibilityKey(height=512, width=512, max_sequence_length=77, is_guided=True)


def entrant(
    name: str,
    group: CompatibilityKey = SMALL,
    *,
    interactive: bool = False,
    alone: bool = False,
) -> Entrant:
    return Entrant(key=AttemptKey(name, 1), group=group, interactive=interactive, alone=alone)


def next_names(admission: Admission) -> str:
    step = admission.next_step()
    return " ".join(key.image_id for key in step.taking_part) if step else ""


def remove(admission: Admission, *names: str) -> None:
    for name in names:
        admission.remove(AttemptKey(name, 1))


def make_admission(*entrants: Entrant, batch_slots: int = 2) -> Admission:
    admission = Admission(batch_slots=batch_slots, interactive_slots=1)
    for each in entrants:
        admission.add(each)
    return admission


def test_nothing_to_do_is_no_step() -> None:
    assert make_admission().next_step() is None


def test_images_of_one_key_share_the_step_as_far_as_slots_go() -> None:
    admission = make_admission(entrant("a"), entrant("b"), entrant("c"))

    assert next_names(admission) == "a b"


def test_a_freed_slot_is_taken_at_the_next_boundary() -> None:
    admission = make_admission(entrant("a"), entrant("b"), entrant("c"))
    admission.next_step()

    remove(admission, "a")

    assert next_names(admission) == "b c"


def test_a_turn_takes_the_longest_waiting_image_and_others_of_its_key() -> None:
    admission = make_admission(entrant("a"), entrant("b", LARGE), entrant("c"))

    assert next_names(admission) == "a c"


def test_newcomers_do_not_prolong_a_turn_while_another_key_has_waited_longer() -> None:
    admission = make_admission(entrant("a"), entrant("b", LARGE), entrant("c"), entrant("d"))
    admission.next_step()

    remove(admission, "a")
    during_the_turn = next_names(admission)
    remove(admission, "c")
    after_it = next_names(admission)

    assert (during_the_turn, after_it) == ("c", "b")


def test_an_interactive_image_of_the_same_key_joins_at_the_next_boundary() -> None:
    admission = make_admission(entrant("a"), entrant("b"), entrant("c"))
    admission.next_step()

    admission.add(entrant("i", interactive=True))

    assert next_names(admission) == "a b i"


def test_an_interactive_image_of_another_size_overtakes_and_the_batch_keeps_its_slots() -> None:
    admission = make_admission(entrant("a"), entrant("b"))
    admission.next_step()

    admission.add(entrant("i", LARGE, interactive=True))
    overtaken = next_names(admission)
    remove(admission, "i")

    assert (overtaken, next_names(admission)) == ("i", "a b")


def test_a_long_interactive_image_lets_the_batch_through_now_and_then() -> None:
    admission = make_admission(entrant("a"), entrant("i", LARGE, interactive=True))

    steps = [next_names(admission) for _ in range(2 * (OVERTAKEN_STEPS_MAX + 1))]

    assert steps == 2 * (OVERTAKEN_STEPS_MAX * ["i"] + ["a"])


def test_interactive_images_borrow_batch_slots_only_while_no_batch_image_waits() -> None:
    admission = make_admission(*(entrant(name, interactive=True) for name in "ijk"))
    borrowed = next_names(admission)

    for waiting in (entrant("l", interactive=True), entrant("a"), entrant("b")):
        admission.add(waiting)
    remove(admission, "i", "j")

    assert (borrowed, next_names(admission)) == ("i j k", "k a b")


def test_an_image_that_must_be_alone_waits_until_nothing_is_in_flight() -> None:
    admission = make_admission(entrant("a"))
    admission.next_step()

    admission.add(entrant("x", alone=True))
    admission.add(entrant("b"))
    beside_a = next_names(admission)
    remove(admission, "a")

    assert (beside_a, next_names(admission)) == ("a", "x")


def test_nothing_is_admitted_beside_an_image_that_must_be_alone() -> None:
    admission = make_admission(entrant("x", alone=True), entrant("b"))
    admission.next_step()

    admission.add(entrant("i", interactive=True))
    beside_x = next_names(admission)
    remove(admission, "x")

    assert (beside_x, next_names(admission)) == ("x", "i b")


def test_a_waiting_image_that_is_removed_is_never_admitted() -> None:
    admission = make_admission(entrant("a"), entrant("b"))

    remove(admission, "a")

    assert next_names(admission) == "b"


@dataclass(slots=True, kw_only=True)
class Followed:
    """An image as the model of the state machine sees it."""

    entrant: Entrant
    steps_left: int


GROUPS = (SMALL, LARGE, CompatibilityKey(256, 256, 77, is_guided=False))
STEPS_MAX = 6
BATCH_SLOTS = 3
INTERACTIVE_SLOTS = 1


class AdmissionMachine(RuleBasedStateMachine):
    """Submits, cancels, fails and steps images of all kinds with a model of no arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(batch_slots=BATCH_SLOTS, interactive_slots=INTERACTIVE_SLOTS)
        self.images: dict[AttemptKey, Followed] = {}
        self.ever_in_flight: set[AttemptKey] = set()
        self.count = 0

    @rule(
        group=st.sampled_from(GROUPS),
        interactive=st.booleans(),
        alone=st.integers(0, 9).map(lambda n: n == 0),
        steps=st.integers(1, STEPS_MAX),
        copies=st.integers(1, 4),
    )
    def submit(
        self,
        *,
        group: CompatibilityKey,
        interactive: bool,
        alone: bool,
        steps: int,
        copies: int,
    ) -> None:
        for _ in range(copies):
            self.count += 1
            new = entrant(str(self.count), group, interactive=interactive, alone=alone)
            self.images[new.key] = Followed(entrant=new, steps_left=steps)
            self.admission.add(new)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def cancel_or_fail(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.images)))
        self.admission.remove(key)
        del self.images[key]

    @rule(boundaries=st.integers(1, 12))
    def step(self, boundaries: int) -> None:
        for _ in range(boundaries):
            self.step_once()

    def step_once(self) -> None:
        step = self.admission.next_step()
        assert (step is None) == (not self.images), "work is never left lying, nor invented"
        if step is None:
            return
        self.check_the_new(step.admitted)
        self.check_the_company(step.taking_part)
        for key in step.taking_part:
            self.images[key].steps_left -= 1
            if self.images[key].steps_left == 0:
                self.admission.remove(key)
                del self.images[key]

    def check_the_new(self, admitted: tuple[AttemptKey, ...]) -> None:
        assert not self.ever_in_flight & set(admitted), "nobody is admitted twice"
        self.ever_in_flight |= set(admitted)

    def check_the_company(self, taking_part: tuple[AttemptKey, ...]) -> None:
        company = [self.images[key].entrant for key in taking_part]
        assert company
        assert len(set(taking_part)) == len(taking_part), "nobody takes part twice in a step"
        assert len({e.group for e in company}) == 1
        assert not any(e.alone for e in company) or len(self.admission.in_flight) == 1

    @invariant()
    def nobody_is_lost(self) -> None:
        known = [*self.admission.waiting, *self.admission.in_flight]
        assert sorted(known) == sorted(self.images)

    @invariant()
    def slots_are_kept(self) -> None:
        in_flight = [self.images[key].entrant for key in self.admission.in_flight]
        assert len(in_flight) <= BATCH_SLOTS + INTERACTIVE_SLOTS
        assert sum(not e.interactive for e in in_flight) <= BATCH_SLOTS
        assert len({e.group for e in in_flight if not e.interactive}) <= 1

    def teardown(self) -> None:
        """Without new arrivals everything is drawn, each image in a bounded number of steps."""
        steps_at_most = STEPS_MAX * len(self.images) * (1 + OVERTAKEN_STEPS_MAX)
        for _ in range(steps_at_most + 1):
            if not self.images:
                return
            self.step_once()
        assert not self.images, "nobody starves"


TestAdmissionMachine = AdmissionMachine.TestCase
TestAdmissionMachine.settings = settings(stateful_step_count=40, max_examples=60, deadline=None)


def steps_until_drawn(admission: Admission, name: str, arrivals: "Arrivals") -> int:
    """How many boundaries pass until the image took part once, while others keep arriving."""
    for boundary in range(10_000):
        arrivals.arrive(admission)
        step = admission.next_step()
        assert step is not None
        if AttemptKey(name, 1) in step.taking_part:
            return boundary
        arrivals.finish_some(admission, step.taking_part)
    raise AssertionError(f"{name} starved")


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """A crowd that never ends: there is always one more of the same kind."""

    group: CompatibilityKey
    interactive: bool
    count: int = 0
    boundary: int = 0

    def arrive(self, admission: Admission) -> None:
        while len(admission.waiting) < 4:
            self.count += 1
            name = f"crowd-{self.count}"
            admission.add(entrant(name, self.group, interactive=self.interactive))

    def finish_some(self, admission: Admission, taking_part: tuple[AttemptKey, ...]) -> None:
        self.boundary += 1
        if self.boundary % 3 == 0:
            admission.remove(taking_part[0])


def test_an_endless_crowd_of_another_key_does_not_starve_a_batch_image() -> None:
    admission = make_admission(batch_slots=4)
    crowd = Arrivals(group=LARGE, interactive=False)
    crowd.arrive(admission)
    admission.next_step()

    admission.add(entrant("a"))

    assert steps_until_drawn(admission, "a", crowd) <= 8 * 3


def test_an_endless_interactive_crowd_does_not_starve_a_batch_image() -> None:
    admission = make_admission(entrant("a"), batch_slots=1)

    waited = steps_until_drawn(admission, "a", Arrivals(group=LARGE, interactive=True))

    assert waited <= OVERTAKEN_STEPS_MAX


def test_an_endless_crowd_does_not_starve_an_image_that_must_be_alone() -> None:
    admission = make_admission(batch_slots=4)
    crowd = Arrivals(group=SMALL, interactive=False)
    crowd.arrive(admission)
    admission.next_step()

    admission.add(entrant("x", alone=True))

    assert steps_until_drawn(admission, "x", crowd) <= 8 * 3


def test_an_endless_interactive_crowd_does_not_starve_an_image_that_must_be_alone() -> None:
    admission = make_admission(batch_slots=4)
    crowd = Arrivals(group=LARGE, interactive=True)
    crowd.arrive(admission)
    admission.next_step()

    admission.add(entrant("x", alone=True))

    assert steps_until_drawn(admission, "x", crowd) <= 8 * 3
