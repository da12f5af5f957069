Feature: The services fail
  APIs and workers are replaceable: one of each may go at any moment.

  @runbook:APIDown @api
  Scenario: An API is killed
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a fault window of 8 seconds
    When the experiment "api-kill" is injected
    Then the fault is in force within 20 seconds
    And the alert "APIDown" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 90% of the requests are accepted
    And the system recovers within 30 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 15 seconds after recovery
    And no residue is left

  @runbook:WorkerRestarting @worker @smoke
  Scenario: A worker is killed under load
    Given a steady load of 300 tasks per second
    And a fault window of 8 seconds
    When the experiment "worker-kill" is injected
    Then the fault is in force within 20 seconds
    And the alert "WorkerRestarting" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And in the fault window at least 90% of the tasks are done within 10 seconds
    And the system recovers within 30 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 15 seconds after recovery
    And no residue is left

  @runbook:WorkerRestarting @worker @container-kill
  Scenario: A worker's container is killed again and again
    Given a steady load of 300 tasks per second
    And a fault window of 25 seconds
    When the experiment "worker-container-kill" is injected
    Then the fault is in force within 20 seconds
    And the alert "WorkerRestarting" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left

  @runbook:WorkerDown @worker @mitigation
  Scenario: All workers are down for a while, the backlog grows and drains
    Given a steady load of 300 tasks per second
    And a fault window of 20 seconds
    When the experiment "worker-down" is injected
    Then the fault is in force within 20 seconds
    And the alert "WorkerDown" fires within 15 seconds
    And the alert "BacklogGrowing" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the mitigation of "WorkerDown" restores the service within 20 seconds
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:TaskFreshnessLow @worker
  Scenario: All workers were down, and tasks are done late
    Given a steady load of 400 tasks per second
    And a fault window of 35 seconds
    When the experiment "worker-down" is injected
    Then the fault is in force within 20 seconds
    And the alert "WorkerDown" fires within 15 seconds
    And the alert "TaskFreshnessLow" fires within 45 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 15 seconds after recovery
    And no residue is left

  @runbook:TrafficAbsent @api @network @partition
  Scenario: Users are cut off from the APIs
    Given a steady load of 300 tasks per second
    When the experiment "loadgen-api-partition" is injected
    Then the fault is in force within 30 seconds
    And the alert "TrafficAbsent" fires within 25 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 15 seconds after recovery
    And no residue is left
