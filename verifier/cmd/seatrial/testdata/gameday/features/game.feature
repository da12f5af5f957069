Feature: A brief game day
  Every phase in as little time as it takes, for tests of seatrial itself.

  @runbook:NATSQuorumLost
  Scenario: Nothing can be stored any more
    Given a steady load of 100 tasks per second
    And a baseline window of 2 seconds
    And a recovery window of 2 seconds
    When the experiment "nats-quorum-lost" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSQuorumLost" fires within 20 seconds
    And the system recovers within 60 seconds
    And every accepted task is done exactly once
    And no residue is left

  @runbook:WorkerDown
  Scenario: Nobody works any more
    Given a steady load of 100 tasks per second
    And a baseline window of 2 seconds
    And a recovery window of 2 seconds
    When the experiment "worker-down" is injected
    Then the fault is in force within 30 seconds
    And the alert "WorkerDown" fires within 20 seconds
    And the system recovers within 60 seconds
    And every accepted task is done exactly once
    And no residue is left
