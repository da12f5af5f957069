Feature: The queue fails
  Three NATS servers keep every accepted task on two disks at least. One may go;
  without two of them nothing may be accepted, and nothing may be lost.

  @runbook:NATSServerDown @nats @leader-kill
  Scenario: The leader of the stream is killed
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a fault window of 12 seconds
    When the experiment "nats-leader-kill" is injected
    Then the fault is in force within 20 seconds
    And the alert "NATSServerDown" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 20% of the requests are accepted
    And the system recovers within 45 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:NATSServerDown @nats @server-down
  Scenario: One NATS server stays down
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    When the experiment "nats-server-down" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSServerDown" fires within 15 seconds
    And in the baseline window at least 99% of the requests are accepted
    And in the fault window at least 95% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:NATSQuorumLost @nats @quorum-lost @mitigation
  Scenario: Two of three NATS servers are down
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a fault window of 25 seconds
    When the experiment "nats-quorum-lost" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSQuorumLost" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the mitigation of "NATSQuorumLost" restores the service within 25 seconds
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:NATSPartition @nats @network
  Scenario: One NATS server is cut off from its peers
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    When the experiment "nats-partition" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSPartition" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:NATSPartition @nats @network @mitigation
  Scenario: The NATS server that is cut off is replaced
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a fault window of 45 seconds
    When the experiment "nats-partition" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSPartition" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the mitigation of "NATSPartition" restores the service within 45 seconds
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:NATSPartition @nats @network @link-cut
  Scenario: One link between two NATS servers is cut
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    When the experiment "nats-link-cut" is injected
    Then the fault is in force within 30 seconds
    And the alert "NATSPartition" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left

  @runbook:TaskAvailabilityBurn @api @nats @network @partition
  Scenario: The APIs are cut off from the queue
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    When the experiment "api-nats-partition" is injected
    Then the fault is in force within 30 seconds
    And the alert "TaskAvailabilityBurn" fires within 20 seconds
    And in the baseline window at least 99% of the requests are accepted
    And the system recovers within 60 seconds
    And in the recovery window at least 99% of the requests are accepted
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 30 seconds after recovery
    And no residue is left
