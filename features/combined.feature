Feature: Two faults at once
  Faults do not queue up.

  @runbook:NATSServerDown @nats @worker
  Scenario: A worker dies while a NATS server is killed
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a fault window of 10 seconds
    When the experiment "nats-leader-kill" is injected
    And the experiment "worker-kill" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSServerDown" fires within 15 seconds
    And the alert "WorkerRestarting" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left
