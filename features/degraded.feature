Feature: The network and the processors are slow
  Nothing is down, and yet users may wait.

  @runbook:ValkeyLatencyHigh @valkey @network @delay @mitigation
  Scenario: Workers reach Valkey with a delay
    Given a steady load of 300 tasks per second
    And a fault window of 25 seconds
    When the experiment "worker-valkey-delay" is injected
    Then the fault is in force within 20 seconds
    And the alert "ValkeyLatencyHigh" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And in the fault window at least 90% of the tasks are done within 5 seconds
    And the mitigation of "ValkeyLatencyHigh" restores the service within 25 seconds
    And the system recovers within 30 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left

  @runbook:NATSLatencyHigh @nats @network @loss @mitigation
  Scenario: Packets from the APIs to NATS get lost
    Given a steady load of 300 tasks per second
    And a fault window of 25 seconds
    When the experiment "api-nats-loss" is injected
    Then the fault is in force within 20 seconds
    And the alert "NATSLatencyHigh" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the mitigation of "NATSLatencyHigh" restores the service within 25 seconds
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left

  @runbook:NATSLatencyHigh @nats @network @bandwidth
  Scenario: The bandwidth from the APIs to NATS is squeezed
    Given a steady load of 300 tasks per second
    When the experiment "api-nats-bandwidth" is injected
    Then the fault is in force within 20 seconds
    And the alert "NATSLatencyHigh" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left

  @runbook:WorkerCPUStarved @worker @stress @mitigation
  Scenario: The workers' processors are stressed
    Given a steady load of 300 tasks per second
    And a fault window of 60 seconds
    When the experiment "worker-cpu-stress" is injected
    Then the fault is in force within 30 seconds
    And the alert "WorkerCPUStarved" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the mitigation of "WorkerCPUStarved" restores the service within 60 seconds
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:APICPUStarved @api @stress
  Scenario: An API's processors are stressed
    Given a steady load of 300 tasks per second
    When the experiment "api-cpu-stress" is injected
    Then the fault is in force within 30 seconds
    And the alert "APICPUStarved" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left

  @runbook:WorkerMemoryHigh @worker @stress @memory @mitigation
  Scenario: Somebody else takes memory in a worker's pod
    Given a steady load of 300 tasks per second
    And a fault window of 50 seconds
    When the experiment "worker-memory-stress" is injected
    Then the fault is in force within 30 seconds
    And the alert "WorkerMemoryHigh" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 99% of the requests are accepted
    And the mitigation of "WorkerMemoryHigh" restores the service within 50 seconds
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 20 seconds after recovery
    And no residue is left

  @runbook:TaskLatencyHigh @nats @network @delay
  Scenario: The APIs reach NATS with a long delay
    Given a steady load of 300 tasks per second
    When the experiment "api-nats-delay" is injected
    Then the fault is in force within 20 seconds
    And the alert "TaskLatencyHigh" fires within 20 seconds
    And the alert "NATSLatencyHigh" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 95% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left
