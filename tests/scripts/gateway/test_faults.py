from tickloom.scripts.gateway.faults import Abort, Burst, Faults, Logout, Mute, Rate, Revoke, Unmute
from tickloom.scripts.gateway.switches import Switches, parse_chaos

S = 10**9


def apply(faults, now=0, **switches):
    return faults.apply(parse_chaos(switches), now)


def test_settings_come_first_then_actions_in_a_fixed_order():
    faults = Faults(Switches())
    actions = apply(
        faults, abort="reset", hub="user", mute=3, burst=5, contract="X", tick_rate=7, gateway_logout="bye",
        revoke_tokens=True, close_allow_reconnect=True,
    )  # fmt: skip
    assert actions == [
        Revoke(),
        Rate(7, "X"),
        Burst(5, "X"),
        Logout(("bye",), "user"),
        Mute("user"),
        Abort("reset", "user"),
    ]
    assert faults.switches.close_allow_reconnect


def test_rates_may_be_given_by_contract():
    assert apply(Faults(Switches()), tick_rate={"A": 1, "B": 2.5}) == [Rate(1, "A"), Rate(2.5, "B")]


def test_logout_carries_no_argument_one_or_many():
    faults = Faults(Switches())
    assert apply(faults, gateway_logout=True) == [Logout((), None)]
    assert apply(faults, gateway_logout=["a", 1]) == [Logout(("a", 1), None)]
    assert apply(faults, gateway_logout=False) == []


def test_windows_end_by_themselves():
    faults = Faults(Switches())
    apply(faults, now=10 * S, stall=2, refuse_upgrade=1)
    assert faults.stalled(11 * S)
    assert faults.refusing(10 * S)
    assert not faults.stalled(12 * S)
    assert not faults.refusing(11 * S)


def test_a_mute_ends_by_time_or_by_asking_once():
    faults = Faults(Switches())
    apply(faults, mute=2)
    assert faults.poll(S) == []
    assert faults.poll(2 * S) == [Unmute(drop=False)]
    assert faults.poll(3 * S) == []
    apply(faults, mute=2, mute_mode="blackhole")
    assert apply(faults, mute=0) == [Unmute(drop=True)]
    assert faults.poll(9 * S) == []


def test_connections_made_during_a_mute_are_mute_only_if_asked_for_and_of_that_hub():
    faults = Faults(Switches())
    apply(faults, mute=2, hub="user")
    assert not faults.muted("user", S)
    apply(faults, mute_new=True)
    assert faults.muted("user", S)
    assert not faults.muted("market", S)
    assert not faults.muted("user", 2 * S)


def test_failures_to_come_are_counted_down():
    faults = Faults(Switches())
    apply(faults, login_fail=2)
    assert [faults.take("login_fail") for _ in range(3)] == [True, True, False]


def test_a_reset_goes_back_to_the_start_and_ends_every_window():
    plain = Switches(frame_max=7, token_ttl_s=5)
    faults = Faults(plain)
    apply(faults, bad_pct=3, stall=9, refuse_upgrade=9, mute=9, login_fail=4)
    assert apply(faults, reset=True, drop_pct=1) == [Unmute(drop=False)]
    assert faults.switches == Switches(frame_max=7, token_ttl_s=5, drop_pct=1)
    assert not faults.stalled(0)
    assert not faults.refusing(0)


def test_the_state_shows_what_is_left_of_the_windows():
    faults = Faults(Switches())
    apply(faults, now=S, stall=3, bad_pct=2)
    state = faults.state(2 * S)
    assert (state["stall_left_s"], state["mute_left_s"], state["bad_pct"]) == (2.0, 0.0, 2.0)
