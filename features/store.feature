Feature: The store fails
  One Valkey accepts writes, two copy it, three sentinels watch. Whoever loses
  its copies must stop writing before another one starts.

  @runbook:ValkeyNoPrimary @valkey @primary-kill
  Scenario: The Valkey primary is killed
    Given a steady load of 300 tasks per second
    And a fault window of 12 seconds
    When the experiment "valkey-primary-kill" is injected
    Then the fault is in force within 20 seconds
    And the alert "ValkeyNoPrimary" fires within 15 seconds
    And the alert "ValkeyPrimaryChanged" fires within 25 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 45 seconds after recovery
    And no residue is left

  @runbook:ValkeyNoPrimary @valkey @replicas-down @mitigation
  Scenario: Both Valkey replicas are down, and the primary is alone
    Given a steady load of 300 tasks per second
    And a fault window of 60 seconds
    When the experiment "valkey-replicas-down" is injected
    Then the fault is in force within 30 seconds
    And the alert "ValkeyNoPrimary" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the mitigation of "ValkeyNoPrimary" restores the service within 60 seconds
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 45 seconds after recovery
    And no residue is left

  @runbook:ValkeySplitBrain @valkey @network @split-brain
  Scenario: The Valkey primary is cut off with a worker on its side
    Given a steady load of 300 tasks per second
    When the experiment "valkey-primary-partition" is injected
    Then the fault is in force within 30 seconds
    And the alert "ValkeySplitBrain" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the system recovers within 90 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 45 seconds after recovery
    And no residue is left

  @runbook:ValkeySplitBrain @valkey @network @split-brain @mitigation
  Scenario: The Valkey primary that is cut off is replaced
    Given a steady load of 300 tasks per second
    And a fault window of 50 seconds
    When the experiment "valkey-primary-partition" is injected
    Then the fault is in force within 30 seconds
    And the alert "ValkeySplitBrain" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the mitigation of "ValkeySplitBrain" restores the service within 50 seconds
    And the system recovers within 90 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 45 seconds after recovery
    And no residue is left
