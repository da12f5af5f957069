Feature: Without a fault
  Everything else is worth as much as this: a system that is left alone keeps
  every promise, and nobody is called. (A ticket may be written: on two cores a
  round trip may be slow for a while, and the next day is early enough to look.)

  @runbook:TaskAvailabilityBurn @steady
  Scenario: Steady state
    Given a steady load of 300 tasks per second
    And 2% of the tasks are sent twice
    And a recovery window of 20 seconds
    When no fault is injected
    Then in the baseline window at least 99.9% of the requests are accepted
    And in the recovery window at least 99.9% of the requests are accepted
    And in the recovery window at least 99% of the accepted requests are answered within 500 milliseconds
    And in the recovery window at least 99% of the tasks are done within 2.5 seconds
    And no alert pages
    And every accepted task is done exactly once
    And no refused task is ever done
    And no unknown task is done more than once
    And every accepted task is done within 10 seconds after recovery
